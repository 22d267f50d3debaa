import type { Pool } from 'pg';
import { type Cluster, readCluster } from '../db/cluster.ts';
import { type Engine, readEngine } from '../db/engine.ts';
import { readSchema, type Schema } from '../db/migrate.ts';
import { sqlOn, transaction } from '../db/sql.ts';

export type Database = {
  version: string;
  readOnly: boolean;
  /** Microseconds, as are the next two; this one since the epoch. */
  clock: bigint;
  roundTrip: bigint;
  /** By how much this replica's clock is ahead. */
  ahead: bigint;
  schema: Schema;
  engine: Engine;
  /** Of Citus. */
  cluster: Cluster | undefined;
};

/** Asks the database what it is. To open a connection takes longer one way than the other, so it is there before the time is taken. */
export async function readDatabase(pool: Pool): Promise<Database> {
  const engine = await readEngine(sqlOn(pool));
  const cluster = engine === 'citus' ? await transaction(pool, readCluster) : undefined;
  const client = await pool.connect();
  try {
    const sql = sqlOn(client);
    await sql({ text: 'select 1', values: [] });
    const sent = performance.now();
    const [row] = await sql<Row>({ text: DATABASE, values: [] });
    const answered = performance.now();
    const clock = BigInt(row!.clock);
    const middle = micros(performance.timeOrigin + (sent + answered) / 2) + drift();
    return {
      version: row!.version.split(' ')[0]!,
      readOnly: row!.read_only,
      clock,
      roundTrip: micros(answered - sent),
      ahead: middle - clock,
      schema: await readSchema(sql),
      engine,
      cluster,
    };
  } finally {
    client.release();
  }
}

type Row = { version: string; read_only: boolean; clock: string };

const DATABASE = `select current_setting('server_version') as version,
  pg_is_in_recovery() or current_setting('default_transaction_read_only') = 'on' as read_only,
  floor(extract(epoch from clock_timestamp()) * 1000000)::bigint as clock`;

/** How far the clock has been set since the process began: `performance.now` does not follow it. */
function drift(): bigint {
  return micros(Date.now() - (performance.timeOrigin + performance.now()));
}

function micros(ms: number): bigint {
  return BigInt(Math.round(ms * 1000));
}
