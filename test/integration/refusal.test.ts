import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { Outcome } from '../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../support/backend.ts';
import { refused } from '../support/status.ts';
import { append, newBackupId } from '../support/writing.ts';

describe('A request that is refused', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend();
  });
  after(() => backend[Symbol.asyncDispose]());

  it('names the first 20 of a thousand bad fields, and the connection serves on', async () => {
    const entries = Array.from({ length: 1000 }, () => ({}));
    const call = backend.logs.appendLogs({ backupId: newBackupId(), entries });
    const { badRequest, message } = await refused(call, { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
    assert.equal(badRequest!.fieldViolations.length, 20);
    assert.match(message, /entries\[19\].*; and 980 more$/);
    await append(backend, newBackupId(), ['still here']);
  });

  it('names the first bad times of very many', async () => {
    const entry = { level: LogLevel.INFO, createTime: { seconds: 0n, nanos: -1 } };
    const entries = Array.from({ length: 150_000 }, () => entry);
    const call = backend.logs.appendLogs({ backupId: newBackupId(), entries });
    const { badRequest } = await refused(call, { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
    assert.equal(badRequest!.fieldViolations.length, 20);
  });

  it('is not looked through when one of its lists is too long', async () => {
    const entries = Array.from({ length: 100_000 }, () => ({}));
    const call = backend.logs.appendLogs({ backupId: newBackupId(), entries });
    await refused(call, { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', field: 'entries' });
  });

  it('may not say two things of one controller or course', async () => {
    const [backupId, leaseToken] = [newBackupId(), randomUUID()];
    const { controllers, courses } = backend;
    const refusals: [Promise<unknown>, string][] = [
      [
        controllers.reportProgress({
          reports: [
            { backupId, leaseToken },
            { backupId, leaseToken, progress: 1 },
          ],
        }),
        'reports',
      ],
      [
        controllers.finishControllers({
          finishes: [
            { backupId, leaseToken, outcome: Outcome.SUCCEEDED },
            { backupId, leaseToken: randomUUID(), outcome: Outcome.SUCCEEDED },
          ],
        }),
        'finishes',
      ],
      [courses.upsertCourses({ courses: [{ courseId: 7n }, { courseId: 8n }, { courseId: 7n }] }), 'courses'],
    ];
    for (const [call, field] of refusals) {
      await refused(call, { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', field });
    }
  });
});
