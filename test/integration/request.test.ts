import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { Operation, Purpose, Status, Type } from '../../src/gen/backup/v1/controller_pb.ts';
import { forgetAnswers } from '../../src/request/forget.ts';
import { type Backend, startBackend } from '../support/backend.ts';
import { refused } from '../support/status.ts';
import { append, newBackup, newBackupId } from '../support/writing.ts';

const never = new AbortController().signal;

describe('A request id', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ replicas: 2 });
  });
  after(() => backend[Symbol.asyncDispose]());

  const creation = () => ({
    operation: Operation.BACKUP,
    type: Type.COURSE,
    itemId: 1n,
    purpose: Purpose.GENERAL,
    requestId: randomUUID(),
  });

  /** The same call 20 times at once on both replicas, and once more: all answers must be the same. */
  async function repeated<T>(call: (replica: Backend['replicas'][number]) => Promise<T>): Promise<T> {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => call(backend.replicas[i % 2]!)));
    answers.push(await call(backend));
    for (const answer of answers) assert.deepEqual(answer, answers[0]);
    return answers[0]!;
  }

  it('creates one controller, also without a backup id', async () => {
    for (const backupId of ['', newBackupId()]) {
      const request = { ...creation(), backupId };
      const { controller } = await repeated(replica => replica.controllers.createController(request));
      const rows = await backend.database.query('select 1 from backup_controllers where backupid = $1', [
        controller!.backupId,
      ]);
      assert.equal(rows.length, 1);
      if (backupId) assert.equal(controller!.backupId, backupId);
    }
  });

  it('gives the first answer although the controller has changed since', async () => {
    const request = creation();
    const { controller } = await backend.controllers.createController(request);
    const { backupId } = controller!;
    await backend.controllers.transitionController({ backupId, from: Status.CREATED, to: Status.PLANNED });
    assert.deepEqual((await backend.controllers.createController(request)).controller, controller);
    await backend.controllers.deleteController({ backupId });
    assert.deepEqual((await backend.controllers.createController(request)).controller, controller);
  });

  it('takes one step of the life cycle, and changes and deletes once', async () => {
    const backupId = await newBackup(backend);
    const step = { backupId, from: Status.CREATED, to: Status.PLANNED, requestId: randomUUID() };
    const { controller } = await repeated(replica => replica.controllers.transitionController(step));
    assert.equal(controller!.status, Status.PLANNED);
    const update = {
      backupId,
      controller: { progress: 0.5 },
      updateMask: { paths: ['progress'] },
      etag: controller!.etag,
      requestId: randomUUID(),
    };
    const updated = await repeated(replica => replica.controllers.updateController(update));
    assert.equal(updated.controller!.progress, 0.5);
    assert.notEqual(updated.controller!.etag, controller!.etag);
    await append(backend, backupId, ['a', 'b']);
    const deletion = { backupId, requestId: randomUUID() };
    const { deletedLogEntries } = await repeated(replica => replica.controllers.deleteController(deletion));
    assert.equal(deletedLogEntries, 2n);
  });

  it('upserts and deletes courses once', async () => {
    const courses = [{ courseId: 9n }, { courseId: 8n, nextStartTime: { seconds: 5n } }];
    const upsert = { courses, requestId: randomUUID() };
    const { created } = await repeated(replica => replica.courses.upsertCourses(upsert));
    assert.equal(created, 2);
    const [course] = await backend.database.query('select revision from backup_courses where courseid = 9');
    assert.equal(course!['revision'], 1);
    const deletion = { courseId: 9n, requestId: randomUUID() };
    await repeated(replica => replica.courses.deleteCourse(deletion));
    await refused(backend.courses.deleteCourse({ courseId: 9n }), { code: 'NOT_FOUND', reason: 'COURSE_NOT_FOUND' });
  });

  it('is refused with other content or for another method, and changes nothing', async () => {
    const backupId = await newBackup(backend);
    const requestId = randomUUID();
    await backend.controllers.transitionController({ backupId, from: Status.CREATED, to: Status.PLANNED, requestId });
    const reused = { code: 'INVALID_ARGUMENT', reason: 'REQUEST_ID_REUSED' } as const;
    const other = { backupId, from: Status.PLANNED, to: Status.CONFIGURED, requestId };
    await refused(backend.controllers.transitionController(other), reused);
    await refused(backend.controllers.deleteController({ backupId, requestId }), reused);
    assert.equal((await backend.controllers.getController({ backupId })).controller!.status, Status.PLANNED);
  });

  it('does not remember a refusal', async () => {
    const backupId = newBackupId();
    const step = { backupId, from: Status.CREATED, to: Status.PLANNED, requestId: randomUUID() };
    await refused(backend.controllers.transitionController(step), {
      code: 'NOT_FOUND',
      reason: 'CONTROLLER_NOT_FOUND',
    });
    await newBackup(backend, backupId);
    assert.equal((await backend.controllers.transitionController(step)).controller!.status, Status.PLANNED);
  });

  it('is forgotten after its time, by several replicas at once and not before', async () => {
    await using own = await startBackend();
    await own.controllers.createController(creation());
    await own.database.query(
      `insert into backup_requests (subject, requestid, digest, answer, created_at)
       select 'old', gen_random_uuid(), '', '', 1 from generate_series(1, 2500)`,
    );
    await own.database.query(
      `insert into backup_log_requests (backupid, requestid, digest, firstid, lastid, dropped, created_at)
       select 'old', gen_random_uuid(), '', 1, 1, 0, 1 from generate_series(1, 1500)`,
    );
    const pool = new pg.Pool({ connectionString: own.database.url });
    const forgotten = await Promise.all([1, 2, 3].map(() => forgetAnswers(pool, 3_600_000, never)));
    await pool.end();
    assert.equal(forgotten[0]! + forgotten[1]! + forgotten[2]!, 4000);
    assert.deepEqual(await own.database.query('select count(*)::int as left from backup_requests'), [{ left: 1 }]);
    assert.deepEqual(await own.database.query('select count(*)::int as left from backup_log_requests'), [{ left: 0 }]);
  });
});
