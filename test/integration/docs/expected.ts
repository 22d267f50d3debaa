import type { Expected } from './terminal.ts';

/** Commands that no test runs, each with the reason. */
export const LEFT_OUT: [command: RegExp, why: string][] = [
  [/^npm ci$/, 'CI runs it in a fresh clone, and nothing here would work without it'],
  [/^npm test$/, 'this is what it runs'],
];

/** What commands say; those that are not here end with 0. */
export const EXPECTED: Record<string, [command: RegExp, expected: Expected][]> = {
  'README.md': [
    [/TailLogs/, { stays: true, says: /"caughtUp"/, atLast: /Hello, Sunday night/ }],
    [/AppendLogs/, { says: /"lastId": +"1"/ }],
    [/CreateController/, { says: /"backupId"/ }],
    [/ClaimControllers/, { says: /"leaseToken": +"[0-9a-f-]{36}"/ }],
    [/UpsertCourses/, { says: /"nextStartTime"/ }],
    [/RunCourseNow/, { says: /COURSE_STATUS_QUEUED/ }],
    [/ClaimDueCourses/, { says: /"leaseToken"/ }],
    [/SummarizeCourses/, { says: /COURSE_STATUS_NOT/ }],
  ],
};
