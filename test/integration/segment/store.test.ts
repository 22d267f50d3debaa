import assert from 'node:assert/strict';
import { renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { pino } from 'pino';
import { SegmentWriter } from '../../../src/segment/message.ts';
import { type Backend, startBackend, startReplica } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { refused } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, finish, newBackup } from '../../support/writing.ts';
import { eager, type Folder, moveAll, newFolder, standing } from './moving.ts';

describe('A store that', () => {
  let folder: Folder;
  let backend: Backend;
  let backupId: string;
  before(async () => {
    folder = newFolder();
    backend = await startBackend({
      settings: { SEGMENT_STORE: folder.store, SEGMENT_CACHE_BYTES: '0', TAIL_OUTAGE: '20s' },
    });
    backupId = await newBackup(backend);
    for (let at = 0; at < 300; at += 100)
      await append(
        backend,
        backupId,
        Array.from({ length: 100 }, (_, i) => `line ${at + i + 1} ${'x'.repeat(60)}`),
      );
    await finish(backend, backupId);
    await moveAll(backend.database, eager(folder.store));
  });
  after(async () => {
    await backend[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  const needy = () => backend.logs.listLogs({ backupId });
  const away = `${process.env['TMPDIR'] ?? '/tmp'}/backup-management-away-${process.pid}`;

  it('is away fails what needs it, says when to come back, and nothing else', async () => {
    renameSync(folder.path, away);
    try {
      const { retry } = await refused(needy(), { code: 'UNAVAILABLE', reason: 'SEGMENTS_UNAVAILABLE' });
      assert.equal(retry!.retryDelay!.seconds, 5n);
      // What is in the table, and what the rows of segments say.
      const newest = await backend.logs.listLogs({ backupId, order: 2, pageSize: 1 });
      assert.equal(newest.entries[0]!.id, 300n);
      assert.equal((await backend.logs.summarizeLogs({ backupId })).total, 300n);
      assert.equal((await append(backend, backupId, ['more'])).firstId, 301n);
      assert.ok(backend.app.archive.reads.unavailable > 0);
    } finally {
      renameSync(away, folder.path);
    }
    assert.equal((await needy()).entries.length, 100);
  });

  it('comes back has a tail go on that has waited for it', async () => {
    renameSync(folder.path, away);
    const before = backend.app.archive.reads.unavailable;
    await using tail = new Subscriber(backend, { backupIds: [backupId] });
    try {
      await eventually(() => assert.ok(backend.app.archive.reads.unavailable > before + 2));
    } finally {
      renameSync(away, folder.path);
    }
    await tail.over();
    assert.equal(tail.history.entries.length, 301);
  });

  it('takes its time costs a call no more than its deadline', async () => {
    const silent = createServer(socket => socket.on('error', () => {}));
    await new Promise<void>(resolve => void silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as { port: number };
    const replica = await startReplica(backend.database.url, {
      SEGMENT_STORE: `s3://b1?endpoint=http://127.0.0.1:${port}`,
      AWS_ACCESS_KEY_ID: 'a',
      AWS_SECRET_ACCESS_KEY: 'b',
      CALL_TIMEOUT: '700ms',
    });
    try {
      const began = performance.now();
      await refused(replica.logs.listLogs({ backupId }), { code: 'DEADLINE_EXCEEDED', reason: 'DEADLINE_EXCEEDED' });
      assert.ok(performance.now() - began < 20_000);
      await eventually(() => append(replica, backupId, ['meanwhile']));
    } finally {
      await replica[Symbol.asyncDispose]();
      silent.close();
    }
  });

  it('is not set on a replica is UNAVAILABLE there, and nothing is left out in silence', async () => {
    await using replica = await startReplica(backend.database.url);
    await refused(replica.logs.listLogs({ backupId }), { code: 'UNAVAILABLE', reason: 'SEGMENTS_UNAVAILABLE' });
  });

  it('has lost or changed an object is DATA_LOSS that names it, in the log and in a metric; other segments are served', async () => {
    const told: Record<string, unknown>[] = [];
    const log = pino({ level: 'error' }, { write: (line: string) => void told.push(JSON.parse(line)) });
    await using replica = await startReplica(backend.database.url, { SEGMENT_STORE: folder.store }, log);
    const [row] = await backend.database.query(
      'select firstid, lastid, key from backup_log_segments where backupid = $1 order by lastid',
      [backupId],
    );
    const file = `${folder.path}/${row!['key']}`;
    const whole = `${file}.whole`;
    // A whole segment with the same ids, of which nobody knows.
    const forged = new SegmentWriter(backupId);
    const ids = Array.from({ length: Number(row!['lastid']) }, (_, i) => BigInt(i + 1));
    forged.add(
      ids.map(id => ({ id, level: 40, message: 'x', seconds: 1n, nanos: 0, attempt: 0, appendedMicros: undefined })),
    );
    const { object } = await forged.finish();
    const cases: [problem: string, spoil: () => void][] = [
      ['damaged', () => writeFileSync(file, object)],
      ['missing', () => renameSync(file, whole)],
      ['damaged', () => truncateSync(file, statSync(file).size - 1)],
      ['damaged', () => writeFileSync(file, Buffer.alloc(statSync(file).size, 7))],
    ];
    for (const [problem, spoil] of cases) {
      const before = replica.app.archive.reads.lost;
      const kept = await import('node:fs/promises').then(fs => fs.readFile(file));
      spoil();
      const { info } = await refused(replica.logs.listLogs({ backupId }), {
        code: 'DATA_LOSS',
        reason: 'SEGMENT_LOST',
      });
      assert.deepEqual(info!.metadata, {
        backup_id: backupId,
        first_id: row!['firstid'],
        last_id: row!['lastid'],
        key: row!['key'],
        problem,
      });
      assert.equal(replica.app.archive.reads.lost, before + 1);
      assert.equal(told.filter(({ msg }) => /lost/.test(String(msg))).at(-1)!['problem'], problem);
      const start = { case: 'afterId', value: BigInt(String(row!['lastid'])) } as const;
      await using tail = new Subscriber(replica, { backupIds: [backupId], start });
      await tail.over();
      assert.ok(tail.history.entries.length > 200);
      await using broken = new Subscriber(replica, { backupIds: [backupId] });
      assert.match((await broken.done)!.message, /cannot be read: their object is/);
      writeFileSync(file, kept);
      rmSync(whole, { force: true });
    }
    assert.equal((await replica.logs.listLogs({ backupId })).entries.length, 100);
  });

  it('cannot be written keeps the log in the table, and is tried again', async () => {
    const other = await newBackup(backend);
    await append(backend, other, ['one', 'two', 'three']);
    await finish(backend, other);
    await backend.database.query('update backup_log_heads set lastmicros = 1');
    renameSync(folder.path, away);
    await using mover = await startReplica(backend.database.url, eager(folder.store));
    await eventually(() => assert.ok(mover.app.segments.failed > 1));
    assert.deepEqual(await standing(backend.database, other), [0, 0, 3]);
    renameSync(away, folder.path);
    await eventually(async () => assert.deepEqual(await standing(backend.database, other), [2, 1, 1]));
  });
});
