import type { Expected } from './terminal.ts';

/** Commands that no test runs, each with the reason. */
export const LEFT_OUT: [command: RegExp, why: string][] = [
  [/^npm ci$/, 'CI runs it in a fresh clone, and nothing here would work without it'],
  [/^npm test$/, 'this is what it runs'],
  [
    /^npm run pack$|^npm install |^npx backupctl/,
    'test/integration/client/package.test.ts does it in an empty project',
  ],
];

/** What commands need that is not on every machine: they are left out where this cannot be run. CI has it all. */
export const NEEDS: [command: RegExp, program: string, args: string[]][] = [
  [/^openssl |tls\.crt/, 'openssl', ['version']],
  [/^python3 /, '/usr/bin/python3', ['-c', 'import grpc, google.protobuf']],
  [/^curl /, 'curl', ['--version']],
];

/** What commands say; those that are not here end with 0. */
export const EXPECTED: Record<string, [command: RegExp, expected: Expected][]> = {
  'README.md': [
    [/logs tail/, { stays: true, atLast: /Hello, Sunday night[\s\S]*Hello, Monday/ }],
    [/logs append/, { says: /1/ }],
    [/AppendLogs/, { says: /"lastId": +"2"/ }],
    [/courses report/, { says: /42 +QUEUED/ }],
  ],
  'docs/monitoring.md': [
    [/healthz/, { says: /SERVING/ }],
    [/metrics/, { says: /^backup_serving 1$/m }],
  ],
  'docs/network.md': [[/SummarizeCourses/, { says: /COURSE_STATUS_NOT/ }]],
  'docs/page.md': [[/^curl/, { says: /<h1/ }]],
  'docs/production.md': [
    [/migrate/, { says: /migrated: Migration/ }],
    [/logs list/, { says: /through one/ }],
    [/canary/, { says: /"ok":true,"written":[1-9]/ }],
    [/PurgeControllers/, { says: /\{/ }],
  ],
  'docs/tail.md': [
    [/--level warning/, { stays: true }],
    [/"follow": true/, { stays: true, says: /"caughtUp"/ }],
  ],
  'docs/upgrade.md': [
    [/migrate/, { says: /migrated: Migration/ }],
    [/Health/, { says: /"SERVING"/ }],
  ],
  'docs/moodle.md': [
    [/import moodle/, { says: /backup_logs +200 +200 +(200 +0|0 +200) +0$/m }],
    [/--preview 3/, { says: /(\d{4}-\d\d-\d\d[\s\S]*){3}/ }],
    [/ClaimDueCourses/, { says: /"leaseToken"/ }],
  ],
  'docs/worker.md': [
    [/CreateController/, { says: /"backupId"/ }],
    [/AppendLogs/, { says: /"lastId": +"1"/ }],
    [/0\.5/, { says: /"progress": +0\.5/ }],
    [/FinishControllers/, { says: /STATUS_FINISHED_OK/ }],
    [/TailLogs/, { says: /half of it[\s\S]*REASON_SEALED/ }],
    [/0\.6/, { says: /LEASE_LOST/ }],
    [/service\.work\(/, { stays: true, says: /ready/, atLast: /: SUCCEEDED/ }],
    [/logs list/, { says: /course 42: files\.xml/ }],
    [/python3/, { says: /the archive is written[\s\S]*REASON_SEALED/ }],
  ],
  'src/client/README.md': [
    [/summarizeCourses/, { says: /^0 courses are due\nCONTROLLER_NOT_FOUND/m }],
    [/service\.tail\(/, { stays: true, atLast: /^10000 file 10000$/m }],
    [/service\.ingest\(/, { says: /10000 entries are durable/ }],
    [/service\.work\(/, { stays: true }],
  ],
};
