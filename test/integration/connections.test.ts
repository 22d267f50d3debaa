import { strict as assert } from 'node:assert';
import type { ServiceError } from '@grpc/grpc-js';
import type { Pool } from 'pg';
import { copyRows } from '../../src/db/copy.ts';
import { openHotPool } from '../../src/db/hot.ts';
import { transaction } from '../../src/db/sql.ts';
import { type Backend, startBackend, startReplica } from '../support/backend.ts';
import { Cable } from '../support/cable.ts';
import { createDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { locked } from '../support/locked.ts';
import { isPassing } from '../support/status.ts';
import { newBackup } from '../support/writing.ts';

/** What keeps a connection of a pool while it runs. */
const lent = {
  COPY: (pool: Pool) => copyRows(pool, 'select pg_sleep(20)', () => {}),
  transaction: (pool: Pool) => transaction(pool, sql => sql({ text: 'select pg_sleep(20)', values: [] })),
};

describe('Connections to the database', () => {
  it('that break within transactions leave the pool, so that no number of them makes the service mute', async () => {
    await using backend = await startBackend({ settings: { DATABASE_POOL_SIZE: '3' } });
    const stop = new AbortController();
    let updates = 0;
    const backupIds = await Promise.all(Array.from({ length: 6 }, () => newBackup(backend)));
    const clients = backupIds.map(backupId =>
      updateUntil(stop.signal, backend, backupId, () => {
        updates++;
      }),
    );
    try {
      for (let i = 0; i < 12; i++) {
        const before = updates;
        await backend.database.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'backup-management' and datname = current_database()",
        );
        await eventually(() => assert.ok(updates > before + 10, `nothing is done after ${i + 1} times`), 5000);
      }
    } finally {
      stop.abort();
    }
    await Promise.all(clients);
  });

  for (const [how, run] of Object.entries(lent))
    it(`that are reset in the middle of a ${how} end that only, and not the process`, async () => {
      await using database = await createDatabase();
      await using cable = await Cable.start(new URL(database.url));
      const url = Object.assign(new URL(database.url), { port: cable.port }).href;
      await using hot = openHotPool({
        url,
        connectTimeoutMs: 1000,
        statementTimeoutMs: 2000,
        mostWaiting: 10,
        log: () => {},
      });
      const running = run(hot).catch((error: Error) => error);
      await eventually(async () => {
        const sleeping = "select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()";
        assert.equal((await database.query(sleeping)).length, 1);
      });
      cable.cut();
      assert.ok((await running) instanceof Error);
      assert.equal((await hot.query('select 1 as one')).rows[0].one, 1);
    });

  it('that are half-open within a transaction keep its locks no longer than a call may take', async () => {
    await using database = await createDatabase();
    await using cable = await Cable.start(new URL(database.url));
    const url = new URL(database.url);
    url.port = String(cable.port);
    await using cut = await startReplica(url.href, { CALL_TIMEOUT: '2s' });
    await using whole = await startReplica(database.url, { CALL_TIMEOUT: '30s' });
    const backupId = await newBackup(whole);
    const row = await locked(database, `select from backup_controllers where backupid = '${backupId}' for update`);
    const update = (replica: typeof cut) =>
      replica.controllers.updateController({
        backupId,
        controller: { itemId: 2n },
        updateMask: { paths: ['item_id'] },
      });
    const unheard = update(cut).catch((error: ServiceError) => error);
    await row.waited();
    cable.freeze();
    await row[Symbol.asyncDispose](); // now the transaction has the row, and its replica never hears of it
    await eventually(async () => assert.equal((await idle(database)).length, 1));
    const { controller } = await update(whole);
    assert.equal(controller!.itemId, 2n);
    assert.ok((await unheard) instanceof Error);
    cable.cut();
  });
});

async function updateUntil(signal: AbortSignal, backend: Backend, backupId: string, done: () => void): Promise<void> {
  for (let i = 1n; !signal.aborted; i++) {
    try {
      const request = { backupId, controller: { itemId: i }, updateMask: { paths: ['item_id'] } };
      await backend.controllers.updateController(request);
      done();
    } catch (error) {
      if (!isPassing(error as ServiceError)) throw error;
    }
  }
}

function idle(database: { query(sql: string): Promise<unknown[]> }): Promise<unknown[]> {
  return database.query(
    "select from pg_stat_activity where datname = current_database() and state = 'idle in transaction'",
  );
}
