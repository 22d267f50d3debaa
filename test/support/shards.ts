import pg from 'pg';

/** A database of a cluster as one connection sees it that is told what Citus sends to the other nodes. */
export type Sharded = AsyncDisposable & {
  readonly pool: pg.Pool;
  /**
   * What was sent to them while it ran, without what begins and ends transactions; and of which shards it speaks, as places among the co-located. A
   * table that every node has is in none.
   */
  sent(work: () => Promise<unknown>): Promise<{ statements: string[]; shards: number[] }>;
};

export async function sharded(url: string): Promise<Sharded> {
  const sent: string[] = [];
  const pool = new pg.Pool({
    connectionString: url,
    max: 1,
    options: '-c citus.log_remote_commands=on -c citus.log_local_commands=on -c client_min_messages=notice',
  });
  pool.on('connect', client =>
    client.on('notice', ({ message = '' }) => {
      const statement = /^(?:issuing|executing the command locally:) ([\s\S]*)$/.exec(message)?.[1];
      if (statement && !/^(BEGIN|COMMIT|PREPARE TRANSACTION|COMMIT PREPARED|SELECT 1$)/.test(statement))
        sent.push(statement);
    }),
  );
  const places = new Map<string, number>();
  const { rows } = await pool.query(
    `select shardid, rank() over (partition by logicalrelid order by shardminvalue::int)::int as place
     from pg_dist_shard where shardminvalue is not null`,
  );
  for (const { shardid, place } of rows) places.set(shardid, place);
  return {
    pool,
    async sent(work) {
      sent.length = 0;
      await work();
      const spoken = sent.flatMap(statement => [...statement.matchAll(/\bbackup_\w+?_(\d{6,})\b/g)]);
      const shards = new Set(spoken.flatMap(([, shard]) => places.get(shard!) ?? []));
      return { statements: [...sent], shards: [...shards].sort() };
    },
    [Symbol.asyncDispose]: () => pool.end(),
  };
}
