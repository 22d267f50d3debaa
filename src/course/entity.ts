import { defineEntity, type InferEntity, type Opt, p } from '@mikro-orm/core';
import type { Outcome } from '../controller/lifecycle.ts';
import { epochNow } from '../db/clock.ts';

/** How the last automated backup went. Moodle's characters (backup_cron_automated_helper::BACKUP_STATUS_*), column `laststatus`. */
export const LastStatus = {
  ERROR: '0',
  OK: '1',
  UNFINISHED: '2',
  SKIPPED: '3',
  WARNING: '4',
  NOT_YET_RUN: '5',
  QUEUED: '6',
} as const;

export type LastStatus = (typeof LastStatus)[keyof typeof LastStatus];

/** The purpose of automated backups. Moodle's number (backup::MODE_AUTOMATED). */
export const AUTOMATED = 50;

/** The start that is waited for, in SQL. */
export const slotDue = `case laststatus when '${LastStatus.QUEUED}' then queuedfor else nextstarttime end`;

/** What may be claimed when that time has come, in SQL. */
export const claimable = `laststatus <> '${LastStatus.UNFINISHED}' and (nextstarttime > 0 or laststatus = '${LastStatus.QUEUED}')`;

/** The automated backup of a course: table `backup_courses`. All times are epoch seconds by the database's clock; 0 is never. */
export const Course = defineEntity({
  name: 'Course',
  tableName: 'backup_courses',
  properties: {
    courseId: p.bigint().name('courseid').primary().autoincrement(false),
    id: p.bigint().generated('by default as identity').$type<Opt<bigint>>(),
    lastStartTime: p.bigint().name('laststarttime').default(0),
    lastEndTime: p.bigint().name('lastendtime').default(0),
    lastStatus: p.string().length(1).name('laststatus').$type<LastStatus>().default(LastStatus.NOT_YET_RUN),
    nextStartTime: p.bigint().name('nextstarttime').default(0),
    // Added to the specification's columns, from here on.
    /** Counts the changes of the row. */
    revision: p.integer().version(),
    /** Its own schedule, as text; empty when it has none. */
    schedule: p.string().length(300).default(''),
    /** The controller of the current run, or else of the last one. */
    backupId: p.string().length(32).name('backupid').default(''),
    /** The start that the current run is for; 0 when there is none. */
    slot: p.bigint().defaultRaw('0'),
    /** Since when a QUEUED course waits, or until when it has to; 0 in other statuses. */
    queuedFor: p.bigint().name('queuedfor').defaultRaw('0'),
  },
  indexes: [
    { name: 'backup_courses_next', properties: ['nextStartTime', 'id'] },
    {
      name: 'backup_courses_due',
      expression: `create index backup_courses_due on backup_courses ((laststarttime = 0), (${slotDue}), id) where ${claimable}`,
    },
    {
      name: 'backup_courses_backup',
      expression: "create index backup_courses_backup on backup_courses (backupid) where backupid <> ''",
    },
    { name: 'backup_courses_status', properties: ['lastStatus'] },
  ],
  checks: [
    { name: 'backup_courses_status_check', expression: "laststatus in ('0', '1', '2', '3', '4', '5', '6')" },
    {
      name: 'backup_courses_times_check',
      expression: 'laststarttime >= 0 and lastendtime >= 0 and nextstarttime >= 0 and slot >= 0 and queuedfor >= 0',
    },
  ],
});

export type Course = InferEntity<typeof Course>;

/** What became of a start. */
export const RunKind = { RAN: 1, SKIPPED: 2, MISSED: 3 } as const;

export type RunKind = (typeof RunKind)[keyof typeof RunKind];

/** What became of one start of a course: table `backup_course_runs`. Rows are only added, and deleted by age. */
export const CourseRun = defineEntity({
  name: 'CourseRun',
  tableName: 'backup_course_runs',
  properties: {
    courseId: p.bigint().name('courseid').primary().autoincrement(false),
    /** When it was due, or asked for. */
    slot: p.bigint().primary().autoincrement(false),
    kind: p.smallint().$type<RunKind>(),
    backupId: p.string().length(32).name('backupid').default(''),
    outcome: p.smallint().$type<Outcome>().default(0),
    reason: p.text().default(''),
    startedAt: p.bigint().name('startedat').defaultRaw('0'),
    endedAt: p.bigint().name('endedat').defaultRaw('0'),
    createdAt: p.bigint().name('created_at').defaultRaw(epochNow),
  },
  indexes: [
    { name: 'backup_course_runs_slot', properties: ['slot', 'courseId'] },
    { name: 'backup_course_runs_created', properties: ['createdAt'] },
  ],
  checks: [{ name: 'backup_course_runs_kind_check', expression: 'kind between 1 and 3' }],
});

export type CourseRun = InferEntity<typeof CourseRun>;
