import assert from 'node:assert/strict';
import { Operation, Purpose, Status, Type } from '../../../src/gen/backup/v1/controller_pb.ts';
import { CourseView } from '../../../src/gen/backup/v1/course_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend, startReplica } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, finish, newBackup, newBackupId } from '../../support/writing.ts';
import { type GivenLog, putLogs } from '../retention/log-rows.ts';
import { DAY } from '../retention/rows.ts';
import { eager, type Folder, moveAll, newFolder, silence, standing } from './moving.ts';

const [OLD, YOUNG] = [40 * DAY, 20 * DAY];

describe('Logs that are moved, and removed', () => {
  let folder: Folder;
  let backend: Backend;
  beforeEach(async () => {
    folder = newFolder();
    backend = await startBackend({ settings: { SEGMENT_STORE: folder.store, SEGMENT_INTERVAL: '20ms' } });
  });
  afterEach(async () => {
    await backend[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  const moved = () => moveAll(backend.database, { ...eager(folder.store), SEGMENT_BYTES: '1024' });
  const finished = async (count: number) => {
    const backupId = await newBackup(backend);
    await append(
      backend,
      backupId,
      Array.from({ length: count }, (_, i) => `line ${i + 1} ${'x'.repeat(60)}`),
    );
    await finish(backend, backupId);
    return backupId;
  };
  const nothingLeft = () =>
    eventually(async () => {
      assert.deepEqual(folder.objects(), []);
      assert.deepEqual(await backend.database.query('select from backup_segment_removals'), []);
    });
  const idsOf = async (backupId: string) => {
    const ids: number[] = [];
    for (let pageToken = ''; ; ) {
      const page = await backend.logs.listLogs({ backupId, pageSize: 1000, pageToken });
      ids.push(...page.entries.map(({ id }) => Number(id)));
      pageToken = page.nextPageToken;
      if (!pageToken) return ids;
    }
  };

  it('go with their controller, and their objects after them', async () => {
    const backupId = await finished(80);
    await moved();
    assert.ok(folder.objects().length > 3);
    await backend.controllers.deleteController({ backupId });
    assert.deepEqual(await standing(backend.database, backupId), [null, 0, 0]);
    await nothingLeft();
    // The same id may be given again: its log is a new one.
    await append(backend, backupId, ['anew']);
    assert.deepEqual(await idsOf(backupId), [1]);
  });

  it('go with controllers that are purged, without being read, however many entries they have', async () => {
    const backupId = await finished(500);
    await moved();
    await backend.database.query('update backup_controllers set updated_at = 1, created_at = 1, executiontime = 0');
    const request = { olderThan: { seconds: 1n }, statuses: [Status.FINISHED_OK] };
    const told = await backend.controllers.purgeControllers({ ...request, dryRun: true });
    const answer = await backend.controllers.purgeControllers(request);
    assert.deepEqual([answer.controllers, answer.logEntries], [1n, 500n]);
    assert.deepEqual(told, answer);
    assert.deepEqual(await standing(backend.database, backupId), [null, 0, 0]);
    assert.equal(backend.app.archive.reads.store, 0);
    await nothingLeft();
  });

  it('are shortened as if they had not been moved, to the entry', async () => {
    // Each log twice: one is sealed, and so is moved, the other is not.
    const shapes: GivenLog[] = [
      { ages: [...Array(130).fill(OLD), ...Array(90).fill(YOUNG)] },
      { ages: [...Array(70).fill(OLD), YOUNG, ...Array(70).fill(OLD)] },
      { ages: Array(50).fill(OLD), appendedAgo: YOUNG },
      { ages: [YOUNG, ...Array(60).fill(OLD)] },
      { ages: [-DAY, ...Array(60).fill(OLD)], appendedAgo: OLD },
      { entries: 2500 },
    ];
    const purges: { olderThan?: { seconds: bigint }; maxEntries?: number }[] = [
      { olderThan: { seconds: BigInt(30 * DAY) }, maxEntries: 25 },
      { olderThan: { seconds: BigInt(30 * DAY) } },
      { maxEntries: 17 },
      { maxEntries: 2100 },
      {},
    ];
    for (const shape of shapes) {
      const pair = async (sealed: boolean) =>
        (await putLogs(backend.database, { appendedAgo: YOUNG, ...shape, controller: true, sealed }))[0]!;
      const [one, twin] = [await pair(true), await pair(false)];
      const appendedAt = await backend.database.query('select backupid, lastmicros from backup_log_heads');
      await moved();
      for (const { backupid, lastmicros } of appendedAt)
        await backend.database.query('update backup_log_heads set lastmicros = $2 where backupid = $1', [
          backupid,
          lastmicros,
        ]);
      assert.ok(((await standing(backend.database, one))[1] as number) > 1);
      for (const purge of purges) {
        const calls = [one, twin].flatMap(backupId => [
          () => backend.logs.purgeLogs({ ...purge, backupId, dryRun: true }),
          () => backend.logs.purgeLogs({ ...purge, backupId }),
        ]);
        const answers = [];
        for (const call of calls) {
          const { entries, logs, more } = await call();
          answers.push([entries, logs, more]);
        }
        const what = `${JSON.stringify(shape).slice(0, 80)} ${purge.maxEntries}`;
        assert.deepEqual(answers.slice(0, 2), answers.slice(2), what);
        assert.deepEqual(answers[0], answers[1], what);
        assert.deepEqual(await idsOf(one), await idsOf(twin), what);
        const [summary, other] = [one, twin].map(backupId => backend.logs.summarizeLogs({ backupId }));
        const levelsOf = async (of: typeof summary) => (await of!).levels.map(({ count }) => count);
        assert.deepEqual(await levelsOf(summary), await levelsOf(other), what);
      }
    }
    await nothingLeft();
  });

  it('are counted in the report of their course, as far as they are kept', async () => {
    const backupId = newBackupId();
    await backend.courses.upsertCourses({ courses: [{ courseId: 7n }] });
    await backend.controllers.createController({
      backupId,
      operation: Operation.BACKUP,
      type: Type.COURSE,
      itemId: 7n,
      purpose: Purpose.AUTOMATED,
    });
    for (const [level, count] of [
      [LogLevel.INFO, 90],
      [LogLevel.ERROR, 30],
      [LogLevel.INFO, 5],
    ] as const)
      await append(
        backend,
        backupId,
        Array.from({ length: count }, (_, i) => `line ${i} ${'x'.repeat(60)}`),
        level,
      );
    await finish(backend, backupId);
    const counts = async () => {
      const { courses } = await backend.courses.listCourses({ view: CourseView.REPORT });
      return courses[0]!.report!.logCounts.map(({ level, count }) => [level, Number(count)]);
    };
    const before = await counts();
    assert.deepEqual(before, [
      [LogLevel.ERROR, 30],
      [LogLevel.INFO, 95],
    ]);
    await moved();
    assert.deepEqual(await counts(), before);
    await backend.logs.purgeLogs({ backupId, maxEntries: 95 });
    assert.deepEqual(await counts(), [
      [LogLevel.ERROR, 25],
      [LogLevel.INFO, 5],
    ]);
    assert.equal(backend.app.archive.reads.lost, 0);
  });

  it('are found by retention, the log with the oldest entry first', async () => {
    const [young, old, older] = await putLogs(
      backend.database,
      { ages: [50 * DAY, ...Array(60).fill(YOUNG)], controller: true, sealed: true },
      { ages: [60 * DAY, ...Array(60).fill(YOUNG)], controller: true, sealed: true },
      { ages: [...Array(60).fill(70 * DAY), YOUNG], controller: true, sealed: true },
    );
    await moved();
    await backend.database.query(
      'update backup_log_heads set lastmicros = (extract(epoch from now()) * 1000000)::bigint',
    );
    const answer = await backend.logs.purgeLogs({ olderThan: { seconds: BigInt(30 * DAY) } });
    assert.deepEqual([answer.entries, answer.sampleBackupIds], [62n, [older, old, young]]);
    await using _replica = await startReplica(backend.database.url, {
      SEGMENT_STORE: folder.store,
      LOG_RETENTION: '10d',
      RETENTION_INTERVAL: '20ms',
    });
    for (const backupId of [young!, old!, older!])
      await eventually(async () => assert.deepEqual(await idsOf(backupId), []));
    await nothingLeft();
  });

  it('are told to tails as removed, to those that had them to deliver', async () => {
    const backupId = await finished(100);
    await using tail = new Subscriber(backend, { backupIds: [backupId] });
    await tail.over();
    await moved();
    await backend.logs.purgeLogs({ backupId, maxEntries: 45 });
    await using behind = new Subscriber(backend, { backupIds: [backupId] });
    await behind.over();
    const [truncated] = behind.history.all('truncated');
    assert.deepEqual([truncated!.fromId, truncated!.toId], [1n, 45n]);
    assert.deepEqual(
      behind.history.entries.map(({ id }) => Number(id)),
      await idsOf(backupId),
    );
    assert.equal(behind.history.entries.length, 55);
    await silence(backend.database);
  });
});
