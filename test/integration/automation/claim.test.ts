import { strict as assert } from 'node:assert';
import { Execution } from '../../../src/gen/backup/v1/controller_pb.ts';
import { acceleratorsOff, type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused } from '../../support/status.ts';
import { expire } from '../work/work.ts';
import { at, claimDue, course, finish, statusOf, told } from './automation.ts';

describe('CourseService.ClaimDueCourses', () => {
  let backend: Backend;
  beforeEach(async () => {
    backend = await startBackend({ replicas: 2 });
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  const idsOf = (claimed: Awaited<ReturnType<typeof claimDue>>) => claimed.map(one => one.course!.courseId);

  it('gives those first that have never run, then the longest due, and what is asked for when it was asked for', async () => {
    const [late, early, asked, neverLate, neverEarly] = [0, 0, 0, 0, 0].map((_, i) => BigInt(i + 100));
    const starts = [3000n, 2000n, undefined, 5000n, 4000n];
    await backend.courses.upsertCourses({
      courses: starts.map((start, i) => ({ courseId: BigInt(i + 100), ...(start && { nextStartTime: at(start) }) })),
    });
    await backend.database.query('update backup_courses set laststarttime = 7 where courseid < 103');
    await backend.courses.runCourseNow({ courseId: asked! });
    assert.deepEqual(idsOf(await claimDue(backend, { maxCourses: 3 })), [neverEarly, neverLate, early]);
    assert.deepEqual(idsOf(await claimDue(backend)), [late, asked]);
    assert.deepEqual(await claimDue(backend), []);
  });

  it('gives none that has no start, none whose start is to come, and one when it does not say how many', async () => {
    await course(backend, {});
    await course(backend, { nextStartTime: at(4_000_000_000n) });
    const due = [await course(backend), await course(backend)];
    const { claimed } = await backend.courses.claimDueCourses({ worker: 'w' });
    assert.deepEqual(idsOf(claimed), [due[0]]);
  });

  it('never gives the same course to two, however many ask on whichever replica', async () => {
    const ids = [];
    for (let i = 0; i < 60; i++) ids.push(await course(backend));
    const answers = await Promise.all(
      Array.from({ length: 16 }, (_, i) => claimDue(backend.replicas[i % 2]!, { worker: `w${i}`, maxCourses: 5 })),
    );
    const given = answers.flatMap(idsOf);
    assert.equal(new Set(given).size, given.length);
    const rest = idsOf(await claimDue(backend));
    assert.deepEqual([...given, ...rest].toSorted(), ids.toSorted());
    // In fair order: whoever got less than it asked for found the others locked.
    if (!acceleratorsOff) assert.ok(given.length >= 50, `${given.length}`);
  });

  it('gives the same again to the same request id, and the same leases', async () => {
    await course(backend);
    const requestId = crypto.randomUUID();
    const first = await claimDue(backend, { requestId });
    assert.equal(first.length, 1);
    assert.deepEqual(await claimDue(backend.replicas[1]!, { requestId }), first);
    await refused(claimDue(backend, { requestId, worker: 'other' }), {
      code: 'INVALID_ARGUMENT',
      reason: 'REQUEST_ID_REUSED',
    });
  });

  it('gives no course whose run is held, not even one that was deleted and made again', async () => {
    const courseId = await course(backend);
    const [run] = await claimDue(backend);
    await backend.courses.deleteCourse({ courseId });
    await backend.courses.upsertCourses({ courses: [{ courseId, nextStartTime: at(2000n) }] });
    assert.deepEqual(await claimDue(backend), []);
    await finish(backend, run!);
    assert.deepEqual(idsOf(await claimDue(backend)), [courseId]);
  });

  it('is not held up by a run that was given back and put into the queue of all workers by hand', async () => {
    const courseId = await course(backend);
    const [run] = await claimDue(backend);
    const { backupId } = run!.controller!;
    await backend.controllers.releaseController({ backupId, leaseToken: run!.leaseToken });
    await backend.controllers.updateController({
      backupId,
      controller: { execution: Execution.DELAYED },
      updateMask: { paths: ['execution'] },
    });
    const other = await course(backend, { nextStartTime: at(2000n) });
    await backend.database.query('update backup_courses set laststarttime = 5 where courseid = $1', [other]);
    assert.deepEqual(idsOf(await claimDue(backend, { maxCourses: 1 })), [other]);
    const { claimed } = await backend.controllers.claimControllers({ worker: 'w' });
    await finish(backend, claimed[0]!);
    await eventually(async () => assert.equal(await statusOf(backend, courseId), 'OK'));
    assert.deepEqual(await told(backend, courseId), ['1000 RAN SUCCEEDED']);
  });

  it('gives nothing to a caller who has gone meanwhile', async () => {
    const courseId = await course(backend);
    await backend.database.query(
      `create function slowly() returns trigger language plpgsql as 'begin perform pg_sleep(0.3); return new; end'`,
    );
    await backend.database.query(
      'create trigger slowly before insert on backup_controllers for each row execute function slowly()',
    );
    const gone = backend.courses.claimDueCourses({ worker: 'w' }, { timeoutMs: 200 });
    await assert.rejects(gone);
    await eventually(() => assert.equal(backend.app.admission.calls, 0));
    assert.equal(await statusOf(backend, courseId), 'NOT_YET_RUN');
    assert.deepEqual(await backend.database.query('select from backup_controllers where itemid = $1', [courseId]), []);
    await backend.database.query('drop trigger slowly on backup_controllers');
    const [again] = await claimDue(backend);
    assert.equal(again!.controller!.attempt, 1);
    await finish(backend, again!);
    assert.deepEqual(await told(backend, courseId), ['1000 RAN SUCCEEDED']);
  });

  it('undoes what it gave when the caller has gone while it was committed', async () => {
    const courseId = await course(backend);
    // The cancel of whoever has gone comes too late for a commit that is under way.
    await backend.database.query(
      `create function unmoved() returns trigger language plpgsql as
       'begin begin perform pg_sleep(10); exception when query_canceled then null; end; return new; end'`,
    );
    await backend.database.query(
      `create constraint trigger unmoved after insert on backup_controllers deferrable initially deferred
       for each row execute function unmoved()`,
    );
    const gone = backend.courses.claimDueCourses({ worker: 'w' }, { timeoutMs: 200 });
    await assert.rejects(gone);
    await eventually(async () => assert.equal(await statusOf(backend, courseId), 'QUEUED'));
    await backend.database.query('drop trigger unmoved on backup_controllers');
    const [again] = await claimDue(backend);
    assert.equal(again!.controller!.attempt, 2);
    await finish(backend, again!);
    assert.deepEqual(await told(backend, courseId), ['1000 RAN SUCCEEDED']);
  });

  it('gives a course again that was lost, when its next start has come', async () => {
    const courseId = await course(backend);
    const [run] = await claimDue(backend);
    await expire(backend.database, run!.controller!.backupId);
    await eventually(async () => assert.equal(await statusOf(backend, courseId), 'ERROR'));
    assert.deepEqual(await claimDue(backend), []);
    await backend.courses.upsertCourses({ courses: [{ courseId, nextStartTime: at(2000n) }] });
    const [again] = await claimDue(backend);
    assert.notEqual(again!.controller!.backupId, run!.controller!.backupId);
  });

  it('reads an index, however many courses there are that are not due', async () => {
    await backend.database.query(
      `insert into backup_courses (courseid, nextstarttime, laststarttime)
       select i, 4000000000, (i % 2) * 1000 from generate_series(1000, 21000) i`,
    );
    await backend.database.query('analyze backup_courses');
    const plan = await backend.database.query(
      `explain select courseid from backup_courses c
       where laststatus <> '2' and (nextstarttime > 0 or laststatus = '6') and (laststarttime = 0)
         and case laststatus when '6' then queuedfor else nextstarttime end <= floor(extract(epoch from now()))::bigint
       order by (laststarttime = 0), case laststatus when '6' then queuedfor else nextstarttime end, id limit 10`,
    );
    const text = plan.map(row => row['QUERY PLAN']).join('\n');
    assert.match(text, /backup_courses_due/);
    assert.doesNotMatch(text, /Sort/);
  });
});
