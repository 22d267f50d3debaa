import { strict as assert } from 'node:assert';
import { status } from '@grpc/grpc-js';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, clients, connect, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { locked } from '../../support/locked.ts';
import { endsWith } from '../../support/status.ts';
import { countWaiting } from '../../support/waiting.ts';
import { append, newBackup, newBackupId } from '../../support/writing.ts';

const entries = [{ level: LogLevel.INFO, message: 'late' }];

/** Calls that wait for the rows of this run and its log, and what they would leave behind. */
const changes: Record<string, (backend: Backend, backupId: string, options: Options) => Promise<unknown>> = {
  UpdateController: ({ controllers }, backupId, options) =>
    controllers.updateController(
      { backupId, controller: { progress: 0.5 }, updateMask: { paths: ['progress'] } },
      options,
    ),
  'UpdateController with a request id': ({ controllers }, backupId, options) =>
    controllers.updateController(
      {
        backupId,
        controller: { progress: 0.5 },
        updateMask: { paths: ['progress'] },
        requestId: '01234567-89ab-4def-8123-456789abcdef',
      },
      options,
    ),
  DeleteController: ({ controllers }, backupId, options) => controllers.deleteController({ backupId }, options),
  AppendLogs: ({ logs }, backupId, options) => logs.appendLogs({ backupId, entries }, options),
};

type Options = { signal?: AbortSignal; timeoutMs?: number };

describe('A statement that nobody waits for any more', () => {
  for (const [name, change] of Object.entries(changes)) {
    for (const by of ['CANCELLED', 'DEADLINE_EXCEEDED'] as const) {
      it(`is gone while ${name} still waited for a lock, and changes nothing (${by})`, async () => {
        await using backend = await startBackend();
        const backupId = await newBackup(backend);
        await append(backend, backupId, ['first']);
        const before = await stateOf(backend);
        {
          await using lock = await locked(
            backend.database,
            `select from backup_controllers for update; select from backup_log_heads where backupid = '${backupId}' for update`,
          );
          const stop = new AbortController();
          const options = by === 'CANCELLED' ? { signal: stop.signal } : { timeoutMs: 1500 };
          const call = endsWith(change(backend, backupId, options), by);
          await lock.waited();
          stop.abort();
          await call;
          // The lock is still held: PostgreSQL has been told.
          await eventually(async () => assert.equal(await countWaiting(backend.database), 0), 2000);
        }
        await eventually(() => assert.equal(backend.app.admission.calls, 0));
        assert.deepEqual(await stateOf(backend), before);
        await change(backend, backupId, {});
        assert.notDeepEqual(await stateOf(backend), before);
      });
    }
  }

  it('goes on when it runs for others, too, and ends when the last of them has gone', async () => {
    await using backend = await startBackend();
    const [busy, backupId] = [`${'0'.repeat(31)}2`, `${'1'.repeat(31)}2`];
    await append(backend, busy, ['first']);
    await append(backend, backupId, ['first']);
    for (const staysOne of [true, false]) {
      const stop = new AbortController();
      const more: Promise<unknown>[] = [];
      {
        await using second = await locked(
          backend.database,
          `select from backup_log_heads where backupid = '${backupId}' for update`,
        );
        {
          // Of the same lane: what comes meanwhile goes together in the next statement.
          await using first = await locked(
            backend.database,
            `select from backup_log_heads where backupid = '${busy}' for update`,
          );
          more.push(append(backend, busy, ['busy']));
          await first.waited();
          for (let i = 0; i < 5; i++) {
            const options = staysOne && i === 0 ? {} : { signal: stop.signal };
            const call = backend.logs.appendLogs({ backupId, entries }, options);
            more.push(staysOne && i === 0 ? call : endsWith(call, 'CANCELLED'));
          }
          await eventually(() => assert.equal(backend.app.admission.calls, 6));
        }
        await more[0];
        await second.waited();
        stop.abort();
        await Promise.all(more.slice(staysOne ? 2 : 1));
        if (!staysOne) await eventually(async () => assert.equal(await countWaiting(backend.database), 0), 2000);
        else assert.equal(await countWaiting(backend.database), 1);
      }
      await Promise.all(more);
      const { entries: lines } = await backend.logs.listLogs({ backupId });
      // All five of the first round: whoever has gone by then does not know.
      assert.equal(lines.length, 6);
    }
  });

  it('is never another one: whoever stays is answered, however many others come and go', async () => {
    await using backend = await startBackend({ settings: { DATABASE_POOL_SIZE: '2' } });
    const ids = await Promise.all(Array.from({ length: 4 }, () => newBackup(backend)));
    let staying = 0;
    let gone = 0;
    const over = () => staying > 100 && gone > 200;
    const stay = async (i: number) => {
      for (; !over(); staying++) {
        await changes['UpdateController']!(backend, ids[i % ids.length]!, {});
        await append(backend, ids[i % ids.length]!, ['stay']);
      }
    };
    // Each on a connection of its own: of those that take back more than 33 calls a second, after the first 1000, Node closes the connection.
    const leave = async (i: number) => {
      const channel = connect(backend.address);
      using _close = { [Symbol.dispose]: () => channel.close() };
      const leaving = { ...backend, ...clients(channel) };
      while (!over()) {
        const stop = AbortSignal.timeout(Math.floor(Math.random() * 20));
        await changes['UpdateController']!(leaving, ids[i % ids.length]!, { signal: stop }).catch(error => {
          assert.equal(error.code, status.CANCELLED);
          gone++;
        });
      }
    };
    await Promise.all([...[0, 1, 2, 3].map(stay), ...[0, 1, 2, 3, 4, 5, 6, 7].map(leave)]);
    await eventually(() => assert.equal(backend.app.admission.calls, 0));
    await append(backend, newBackupId(), ['after']);
  });
});

async function stateOf({ database }: Backend) {
  return [
    await database.query('select backupid, progress, revision from backup_controllers'),
    await database.query('select backupid, id, message from backup_logs order by 1, 2'),
    await database.query('select backupid, lastid from backup_log_heads order by 1'),
    await database.query('select subject, requestid from backup_requests'),
  ];
}
