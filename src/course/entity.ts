import { defineEntity, type InferEntity, type Opt, p } from '@mikro-orm/core';

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
    /** Added to the specification's columns: counts the changes of the row. */
    revision: p.integer().version(),
  },
  indexes: [
    { name: 'backup_courses_next', properties: ['nextStartTime', 'id'] },
    { name: 'backup_courses_status', properties: ['lastStatus'] },
  ],
  checks: [
    { name: 'backup_courses_status_check', expression: "laststatus in ('0', '1', '2', '3', '4', '5', '6')" },
    {
      name: 'backup_courses_times_check',
      expression: 'laststarttime >= 0 and lastendtime >= 0 and nextstarttime >= 0',
    },
  ],
});

export type Course = InferEntity<typeof Course>;
