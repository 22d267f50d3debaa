import type { SummarizeControllersResponse } from '../gen/backup/v1/controller_pb.ts';
import { CourseStatus, type SummarizeCoursesResponse } from '../gen/backup/v1/course_pb.ts';
import { type Html, html } from './html.ts';
import { count, seen } from './wording.ts';

export type Counts = { runs: SummarizeControllersResponse; courses: SummarizeCoursesResponse };

/** The head line: what an operator asks first. */
export function figures({ runs, courses }: Counts): Html {
  return html`<dl class="figures" id="figures" aria-label="Key figures">
${figure('Running', runs.running, html`${count(runs.leased)} held by workers`)}
${figure('Queue', runs.queueDepth, since(runs.oldestDueTime, 'Nothing waits'))}
${figure('Lost', runs.expiredLeases, html`${runs.expiredLeases > 0n ? 'Workers not heard of' : 'All workers heard of'}`, 'bad')}
${figure('Courses due', courses.due, since(courses.oldestDueTime, 'None is late'))}
${figure('Courses failed', countOf(courses, CourseStatus.ERROR), lastSuccess(courses), 'bad')}
</dl>`;
}

function figure(name: string, value: bigint, detail: Html, whenAny = ''): Html {
  return html`<div class="figure ${value > 0n ? whenAny : ''}"><dt>${name}</dt><dd>${count(value)}</dd><dd class="detail">${detail}</dd></div>`;
}

function since(time: Counts['runs']['oldestDueTime'], otherwise: string): Html {
  return time ? seen(time, 'Oldest due for $', 'Due in $') : html`${otherwise}`;
}

function lastSuccess({ lastSuccessTime }: Counts['courses']): Html {
  return lastSuccessTime ? seen(lastSuccessTime, 'Last success $ ago', 'Last success just now') : html`No success yet`;
}

function countOf(courses: SummarizeCoursesResponse, wanted: CourseStatus): bigint {
  return courses.statuses.find(({ status }) => status === wanted)?.count ?? 0n;
}
