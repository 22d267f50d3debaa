import { Status } from '../gen/backup/v1/controller_pb.ts';
import { type Course, CourseStatus, type SummarizeCoursesResponse } from '../gen/backup/v1/course_pb.ts';
import { LogLevel } from '../gen/backup/v1/entry_pb.ts';
import type { ReportPage } from './attention.ts';
import { type Html, html } from './html.ts';
import { type Kind, kindOf, kinds } from './status.ts';
import { count, seen, took } from './wording.ts';

/** The course report as it is asked for in an address: of one status or of all, from a place on. */
export type Asked = { kind: Kind | undefined; from: string };

/** The course report: filters with counts, the table, and the way to the next page. Roles are said again, because narrow screens lay the table out as cards. */
export function report({ courses, next }: ReportPage, counts: SummarizeCoursesResponse, asked: Asked): Html {
  return html`<section id="report" aria-labelledby="report-title">
<h2 id="report-title">Course report</h2>
<nav class="chips" aria-label="Filter courses by status">
${chip('All', counts.total, undefined, asked)}
${kinds.map(kind => chip(kind.text, counts.statuses.find(({ status }) => status === kind.status)?.count ?? 0n, kind, asked))}
</nav>
${courses.length > 0 ? table(courses) : html`<p class="empty">${counts.total > 0n ? 'No course has this status.' : 'There are no courses yet.'}</p>`}
<nav class="pages" aria-label="Pages of the report">
${asked.from ? html`<a id="first-page" href="${address({ ...asked, from: '' })}">First page</a>` : ''}
${next ? html`<a id="next-page" href="${address({ ...asked, from: next })}">Next page</a>` : ''}
</nav>
</section>`;
}

function chip(text: string, number: bigint, kind: Kind | undefined, asked: Asked): Html {
  const current = kind === asked.kind ? html` aria-current="true"` : '';
  const href = address({ kind, from: '' });
  return html`<a id="chip-${kind?.name ?? 'all'}" class="chip" href="${href}"${current}>${text} <b>${count(number)}</b></a>`;
}

function address({ kind, from }: Asked): string {
  const asked = new URLSearchParams({ ...(kind && { status: kind.name }), ...(from && { from }) });
  return asked.size > 0 ? `/?${asked}` : '/';
}

function table(courses: Course[]): Html {
  return html`<div class="scroll"><table role="table" aria-labelledby="report-title">
<thead role="rowgroup"><tr role="row">${columns.map(name => html`<th role="columnheader" scope="col">${name}</th>`)}</tr></thead>
<tbody role="rowgroup">
${courses.map(row)}
</tbody></table></div>`;
}

const columns = ['Course', 'Status', 'Last run', 'Duration', 'Errors', 'Warnings', 'Next slot', 'Log'];

function row(course: Course): Html {
  const { courseId, lastStatus, report: last } = course;
  const { name, text } = kindOf(lastStatus) ?? { name: 'unknown', text: 'Unknown' };
  const counted = (level: LogLevel) => last?.logCounts.find(one => one.level === level)?.count ?? 0n;
  const cell = (index: number, content: Html | string, kind = '') =>
    html`<td role="cell" class="${kind}" data-column="${columns[index]}">${content}</td>`;
  const found = (index: number, level: LogLevel, kind: string) => {
    const number = counted(level);
    return cell(index, last ? count(number) : '–', `number ${number > 0n ? kind : 'none'}`);
  };
  const backupId = last?.controller?.backupId;
  return html`<tr role="row"><th role="rowheader" scope="row">${String(courseId)}</th>
${cell(1, html`<span class="status ${name}">${text}${share(course)}</span>`)}
${cell(2, lastRun(course))}
${cell(3, last?.duration ? took(last.duration) : '–', 'number')}
${found(4, LogLevel.ERROR, 'error')}${found(5, LogLevel.WARNING, 'warning')}
${cell(6, nextSlot(course))}
${cell(7, backupId ? html`<a class="open-log" data-backup="${backupId}" href="/?backup=${backupId}#log" aria-label="Log of course ${String(courseId)}">Log</a>` : '–')}</tr>
`;
}

function share({ report: last }: Course): string {
  return last?.controller?.status === Status.EXECUTING ? ` ${Math.floor(last.controller.progress * 100)} %` : '';
}

function lastRun({ lastStatus, lastStartTime, lastEndTime }: Course): Html | string {
  if (lastStatus === CourseStatus.UNFINISHED && lastStartTime) return seen(lastStartTime, 'started $ ago', 'just now');
  const time = lastEndTime ?? lastStartTime;
  return time ? seen(time, '$ ago', 'just now') : 'Never';
}

function nextSlot({ lastStatus, nextStartTime }: Course): Html | string {
  if (lastStatus === CourseStatus.QUEUED) return 'Now';
  if (!nextStartTime) return 'None';
  const late =
    lastStatus !== CourseStatus.UNFINISHED && Number(nextStartTime.seconds) < Date.now() / 1000 - LATE_SECONDS;
  return html`<span class="${late ? 'late' : ''}">${seen(nextStartTime, 'due for $', 'in $')}</span>`;
}

/** A start that has just come waits for a worker like any other. */
const LATE_SECONDS = 60;
