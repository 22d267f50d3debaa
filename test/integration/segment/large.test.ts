import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { clients, connect, startReplica } from '../../support/backend.ts';
import { createDatabase } from '../../support/database.ts';
import { ready, repository, run } from '../../support/process.ts';
import { finish, newBackup } from '../../support/writing.ts';
import { movedAll, newFolder, silence, standing } from './moving.ts';

const ENTRIES = 200_000;

describe(`A log of ${ENTRIES} entries`, () => {
  it('is moved, listed and tailed with bounded memory', async () => {
    using folder = newFolder();
    await using database = await createDatabase();
    const service = async (settings: Record<string, string>) => {
      const running = run('node', ['--max-semi-space-size=4', `${repository}/src/main.ts`], {
        ...settings,
        SEGMENT_STORE: folder.store,
        SEGMENT_CACHE_BYTES: '8388608',
        DATABASE_URL: database.url,
        LISTEN: '127.0.0.1:0',
        SERVICE_LOG: 'warn',
        RETENTION: 'off',
      });
      const address = await ready(running);
      const memory = () => {
        const [, kib] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${running.child.pid}/status`, 'utf8'))!;
        return Number(kib) / 1024;
      };
      return { running, address, memory, [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
    };
    await using replica = await startReplica(database.url);
    const backupId = await newBackup(replica);
    await database.query(
      `with head as (insert into backup_log_heads (backupid, lastid) values ($1, $2))
       insert into backup_logs (backupid, id, loglevel, message, created_at)
       select $1, i, 40, md5(i::text) || md5(i::text || 'x') || rpad(i::text, 80, 'x'), i from generate_series(1, $2::bigint) i`,
      [backupId, ENTRIES],
    );
    await finish(replica, backupId);
    await silence(database);

    await using mover = await service({ SEGMENT_AFTER: '1s', SEGMENT_INTERVAL: '100ms' });
    const idle = mover.memory();
    await movedAll(database);
    const moving = mover.memory() - idle;
    await mover.running[Symbol.asyncDispose]();
    const [moved, segments, rows] = await standing(database, backupId);
    assert.deepEqual([moved, rows], [ENTRIES - 1, 1]);
    assert.ok((segments as number) > 10);

    await using reader = await service({});
    const before = reader.memory();
    const channel = connect(reader.address);
    const { logs } = clients(channel);
    let next = 1n;
    for (let pageToken = ''; ; ) {
      const page = await logs.listLogs({ backupId, pageSize: 1000, pageToken });
      for (const { id } of page.entries) assert.equal(id, next++);
      pageToken = page.nextPageToken;
      if (!pageToken) break;
    }
    assert.equal(next, BigInt(ENTRIES) + 1n);
    next = 1n;
    for await (const { event } of logs.tailLogs({ backupIds: [backupId] })) {
      if (event.case === 'entries') for (const { id } of event.value.entries) assert.equal(id, next++);
    }
    assert.equal(next, BigInt(ENTRIES) + 1n);
    const reading = reader.memory() - before;
    channel.close();
    console.log(
      `      moving took ${moving.toFixed(0)} MiB more than idle, reading ${reading.toFixed(0)}; ${segments} segments`,
    );
    // Of 100,000, 200,000 and 400,000 entries moving took 81, 139 and 142.
    assert.ok(moving < 180 && reading < 120, `moving ${moving} MiB, reading ${reading} MiB`);
  });
});
