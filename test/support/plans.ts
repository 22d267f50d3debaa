import assert from 'node:assert/strict';
import pg from 'pg';

/** A database as one connection sees it that is told how each statement was executed. */
export type Explained = AsyncDisposable & {
  readonly pool: pg.Pool;
  /** Which partitions its statements have touched while it ran: read, by their plans; or written, by PostgreSQL's own count. */
  touched(work: () => Promise<unknown>): Promise<string[]>;
};

/** `hot` plans as the hot pool does: without knowing the parameters. */
export function explaining(url: string, { hot }: { hot: boolean }): Explained {
  const plans: Node[] = [];
  const pool = new pg.Pool({ connectionString: url, max: 1, options: `${AUTO_EXPLAIN} ${hot ? GENERIC : ''}` });
  pool.on('connect', client =>
    client.on('notice', ({ message = '' }) => {
      const plan = /^duration: .* plan:\n([\s\S]*)$/.exec(message)?.[1];
      if (plan) plans.push(JSON.parse(plan).Plan);
    }),
  );
  return {
    pool,
    async touched(work) {
      const before = await written(pool);
      plans.length = 0;
      await work();
      const read = plans.flatMap(executed);
      assert.ok(plans.length > 0, 'no plan was told');
      const after = await written(pool);
      const wrote = [...after].flatMap(([table, rows]) => (rows > (before.get(table) ?? 0) ? [table] : []));
      return [...new Set([...read, ...wrote])].sort();
    },
    [Symbol.asyncDispose]: () => pool.end(),
  };
}

type Node = { 'Relation Name'?: string; 'Actual Loops': number; Plans?: Node[] };

const AUTO_EXPLAIN =
  `-c session_preload_libraries=auto_explain -c auto_explain.log_min_duration=0 -c auto_explain.log_analyze=on
  -c auto_explain.log_format=json -c auto_explain.log_level=notice -c auto_explain.log_nested_statements=on`.replaceAll(
    /\s+/g,
    ' ',
  );

const GENERIC = '-c plan_cache_mode=force_generic_plan';

/** The partitions that a plan has looked into, and not only had in itself. */
function executed({ 'Relation Name': table = '', 'Actual Loops': loops, Plans = [] }: Node): string[] {
  if (loops === 0) return [];
  return [...(/_p\d+$/.test(table) ? [table] : []), ...Plans.flatMap(executed)];
}

/** Rows written so far, by partition. What a transaction has written counts when the connection is idle for a moment: so it is told to flush. */
async function written(pool: pg.Pool): Promise<Map<string, number>> {
  await pool.query('select pg_stat_force_next_flush()');
  const { rows } = await pool.query(
    `select relname, (n_tup_ins + n_tup_upd + n_tup_del)::int as rows from pg_stat_user_tables where relname ~ '_p[0-9]+$'`,
  );
  return new Map(rows.map(({ relname, rows }) => [relname, rows]));
}
