import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { Purpose, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend, startReplica } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused } from '../../support/status.ts';
import { append, finish, newBackup, newBackupId } from '../../support/writing.ts';
import { backup, newNumber } from '../controller/requests.ts';
import { Picture, same } from './picture.ts';

describe('WatchControllers with a resume token', () => {
  let backend: Backend;
  before(async () => {
    // A transaction takes eight seconds at most then, which is how far back a token reaches.
    backend = await startBackend({ replicas: 2, settings: { CALL_TIMEOUT: '4s', TAIL_POLL: '50ms' } });
  });
  after(() => backend[Symbol.asyncDispose]());

  const near = () => backend.replicas[0]!;
  const far = () => backend.replicas[1]!;
  const create = async (more = {}) => (await far().controllers.createController(backup(more))).controller!;
  const truth = async (backupIds: string[]) => (await far().controllers.batchGetControllers({ backupIds })).controllers;
  const step = (backupId: string, from: Status, to: Status) =>
    far().controllers.transitionController({ backupId, from, to });

  it('tells on another replica what was changed, deleted and created meanwhile, and not all the rest', async () => {
    const [stays, changes, goes, comes] = [
      await newBackup(far()),
      await newBackup(far()),
      await newBackup(far()),
      newBackupId(),
    ];
    const ids = [stays, changes, goes, comes];
    await makeOld(ids);
    await using picture = new Picture(near(), { backupIds: ids });
    await picture.complete();
    await picture.cancel();
    await step(changes, Status.CREATED, Status.PLANNED);
    await far().controllers.deleteController({ backupId: goes });
    await newBackup(far(), comes);
    const before = picture.messages.length;
    picture.resume(far());
    await picture.until(({ messages }) => messages.length > before);
    same(picture, await truth(ids));
    const [first] = picture.since(before);
    assert.deepEqual(first!.controllers.map(c => c.backupId).sort(), [changes, comes].sort());
    assert.deepEqual([first!.reset, first!.removedBackupIds], [false, [goes]]);
    await step(stays, Status.CREATED, Status.PLANNED);
    await picture.until(({ controllers }) => controllers.get(stays)?.status === Status.PLANNED);
    same(picture, await truth(ids));
  });

  it('tells of a filter also what no longer matches', async () => {
    const userId = newNumber();
    const filter = { userId, statuses: [Status.CREATED, Status.EXECUTING] };
    const [stays, leaves, goes] = [await create({ userId }), await create({ userId }), await create({ userId })];
    await makeOld([stays, leaves, goes].map(c => c.backupId));
    await using picture = new Picture(near(), { filter });
    await picture.complete();
    await picture.cancel();
    await step(leaves.backupId, Status.CREATED, Status.PLANNED);
    await far().controllers.deleteController({ backupId: goes.backupId });
    const comes = await create({ userId });
    const before = picture.messages.length;
    picture.resume(far());
    await picture.until(({ messages }) => messages.length > before);
    same(picture, (await far().controllers.listControllers({ filter })).controllers);
    assert.deepEqual([...picture.controllers.keys()].sort(), [stays.backupId, comes.backupId].sort());
    assert.equal(picture.since(before)[0]!.reset, false);
    assert.equal(picture.told(stays.backupId).length, 1);
  });

  it('tells progress that was reported meanwhile, although it moves no update time', async () => {
    const backupId = await newBackup(far());
    await backend.database.query('update backup_controllers set status = 800 where backupid = $1', [backupId]);
    await makeOld([backupId]);
    await using picture = new Picture(near(), { backupIds: [backupId] });
    await picture.complete();
    await picture.cancel();
    await backend.database.query('update backup_controllers set progress = 0.5 where backupid = $1', [backupId]);
    const before = picture.messages.length;
    picture.resume(far());
    await picture.until(({ messages }) => messages.length > before);
    assert.equal(picture.controllers.get(backupId)?.progress, 0.5);
  });

  it('tells what was committed after the token by a transaction that had begun before it', async () => {
    await using slow = await startReplica(backend.database.url, { TAIL_POLL: '20ms', TAIL_HEARTBEAT: '20ms' });
    const userId = newNumber();
    const [late, gone] = [await create({ userId }), await create({ userId })];
    await makeOld([late.backupId, gone.backupId]);
    const writer = new pg.Client({ connectionString: backend.database.url });
    await writer.connect();
    await using pictures = new AsyncDisposableStack();
    const byIds = pictures.use(new Picture(slow, { backupIds: [late.backupId, gone.backupId] }));
    const byFilter = pictures.use(new Picture(slow, { filter: { userId, statuses: [Status.CREATED] } }));
    try {
      await writer.query('begin');
      const { rows } = await writer.query('select extract(epoch from now()) as now');
      for (const picture of [byIds, byFilter]) {
        await picture.until(({ token }) => token !== '' && sealedAt(token) > Number(rows[0].now));
        await picture.cancel();
      }
      const nowInSeconds = 'floor(extract(epoch from now()))';
      await writer.query(
        `update backup_controllers set status = 300, updated_at = ${nowInSeconds}, revision = 2 where backupid = $1`,
        [late.backupId],
      );
      await writer.query('delete from backup_controllers where backupid = $1', [gone.backupId]);
      await writer.query('insert into backup_removals (backupid) values ($1)', [gone.backupId]);
      await writer.query('commit');
    } finally {
      await writer.end();
    }
    for (const picture of [byIds, byFilter]) {
      const before = picture.messages.length;
      picture.resume(far());
      await picture.until(({ messages }) => messages.length > before);
    }
    same(byIds, await truth([late.backupId, gone.backupId]));
    assert.equal(byFilter.controllers.size, 0);
  });

  it('begins anew when the token is older than what is remembered of deletions', async () => {
    // A transaction takes two minutes at most there, and the token is as far on the safe side.
    for (const [retention, reset] of [
      ['235s', true],
      ['245s', false],
    ] as const) {
      const settings = { REQUEST_RETENTION: retention, CALL_TIMEOUT: '1m' };
      await using replica = await startReplica(backend.database.url, settings);
      const ids = [await newBackup(far()), await newBackup(far())];
      await using picture = new Picture(near(), { backupIds: ids });
      await picture.complete();
      await picture.cancel();
      const before = picture.messages.length;
      picture.resume(replica);
      await picture.until(({ messages }) => messages.length > before);
      assert.equal(picture.since(before)[0]!.reset, reset, retention);
      same(picture, await truth(ids));
    }
  });

  it('begins anew when more was changed than there can be to tell', async () => {
    const userId = newNumber();
    await create({ userId });
    await using picture = new Picture(near(), { filter: { userId } });
    await picture.complete();
    await picture.cancel();
    await backend.database.query(
      'insert into backup_removals (backupid) select md5(i::text) from generate_series(1, 20001) i',
    );
    const before = picture.messages.length;
    picture.resume(far());
    await picture.until(({ messages }) => messages.length > before);
    assert.equal(picture.since(before)[0]!.reset, true);
    assert.equal(picture.controllers.size, 1);
    await backend.database.query('delete from backup_removals');
  });

  it('knows after a resumption which of its ids were deleted before', async () => {
    const [done, gone] = [await newBackup(far()), await newBackup(far())];
    const picture = new Picture(near(), { backupIds: [done, gone], untilFinished: true });
    await picture.complete();
    await far().controllers.deleteController({ backupId: gone });
    await picture.until(({ controllers }) => !controllers.has(gone));
    await picture.cancel();
    await backend.database.query('update backup_removals set created_at = created_at - 1000 where backupid = $1', [
      gone,
    ]);
    picture.resume(far());
    await finish(far(), done);
    await picture.over();
    assert.equal(picture.end, 'FINISHED');
  });

  it('takes the token of the same wish in other words, and refuses any other', async () => {
    const [a, b] = [newBackupId(), newBackupId()];
    const tokenOf = async (request: ConstructorParameters<typeof Picture>[1]) => {
      await using picture = new Picture(near(), request);
      await picture.complete();
      return picture.token;
    };
    const ofIds = await tokenOf({ backupIds: [a, b] });
    const ofFilter = await tokenOf({ filter: { userId: 1n, purposes: [Purpose.COPY, Purpose.ASYNC] } });
    const ofAll = await tokenOf({ filter: { userId: 0n } });
    for (const request of [
      { backupIds: [b, a], resumeToken: ofIds },
      { backupIds: [b, a], resumeToken: ofIds, untilFinished: true },
      { filter: { userId: 1n, purposes: [Purpose.ASYNC, Purpose.COPY, Purpose.ASYNC] }, resumeToken: ofFilter },
    ]) {
      await using picture = new Picture(far(), request);
      await picture.complete();
      assert.equal(picture.messages[0]!.reset, false);
    }
    await append(near(), a, ['x']);
    const tail = near()
      .logs.tailLogs({ backupIds: [a] })
      [Symbol.asyncIterator]();
    const started = (await tail.next()).value.event.value;
    await tail.return?.();
    const altered = Buffer.from(ofIds, 'base64url');
    altered[altered.length - 2]! ^= 1;
    for (const request of [
      { backupIds: [a], resumeToken: ofIds },
      { backupIds: [a, b, newBackupId()], resumeToken: ofIds },
      { backupIds: [a, b], resumeToken: ofFilter },
      { filter: { userId: 1n }, resumeToken: ofFilter },
      { resumeToken: ofAll },
      { backupIds: [a, b], resumeToken: altered.toString('base64url') },
      { backupIds: [a], resumeToken: started.resumeToken },
      { backupIds: [a, b], resumeToken: randomUUID() },
    ]) {
      const picture = new Picture(near(), request);
      await refused(picture.over(), { code: 'INVALID_ARGUMENT', reason: 'RESUME_TOKEN_INVALID' });
      assert.equal(picture.messages.length, 0);
    }
    await eventually(() => assert.equal(near().app.watches.size.watchers, 0));
  });

  /** As if nothing had changed them for an hour. */
  async function makeOld(backupIds: string[]): Promise<void> {
    await backend.database.query(
      'update backup_controllers set updated_at = updated_at - 3600, created_at = created_at - 3600 where backupid = any ($1)',
      [backupIds],
    );
  }
});

/** Up to when everything was told, by a token. */
function sealedAt(token: string): number {
  return JSON.parse(Buffer.from(token, 'base64url').subarray(16).toString()).at;
}
