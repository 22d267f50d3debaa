import { strict as assert } from 'node:assert';
import { type Replica, startReplica } from './backend.ts';
import { Cable } from './cable.ts';
import { eventually } from './eventually.ts';
import type { Pair } from './standby-server.ts';

/** A replica that reads from the standby of a pair by way of a cable. */
export type Reading = Replica & {
  readonly cable: Cable;
  /** What has gone to the standby since this was asked last. */
  said(): string;
  /** Waits until the standby stands so with the replica. */
  stands(state: string, ms?: number): Promise<void>;
};

export async function startReading(pair: Pair, settings: Record<string, string> = {}): Promise<Reading> {
  await using starting = new AsyncDisposableStack();
  const cable = starting.use(await Cable.start(new URL(pair.standby.url)));
  let heard = '';
  cable.tap = data => {
    heard += data.toString('latin1');
  };
  const url = Object.assign(new URL(pair.readUrl), { port: String(cable.port) }).href;
  const replica = starting.use(await startReplica(pair.primary.url, { DATABASE_READ_URL: url, ...settings }));
  const stands = (state: string, ms?: number) => eventually(() => assert.equal(replica.app.standby!.state, state), ms);
  await stands('READ');
  const open = starting.move();
  return {
    ...replica,
    cable,
    said() {
      const said = heard;
      heard = '';
      return said;
    },
    stands,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** Writes the entries of a log as they were there long before. */
export async function writeHistory(pair: Pair, backupId: string, entries: number): Promise<void> {
  await pair.primary.query(
    `with head as (insert into backup_log_heads (backupid, lastid) values ($1, $2))
     insert into backup_logs (backupid, id, loglevel, message, created_at)
     select $1, i, 40, 'history ' || i, 1 from generate_series(1, $2::int) i`,
    [backupId, entries],
  );
}
