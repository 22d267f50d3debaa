import { Agent, request } from 'node:http';
import { join } from 'node:path';
import pg from 'pg';
import type { Appender } from '../log.ts';
import { LINE } from '../raw-append.ts';
import { startProgram } from '../service.ts';
import { installPeers } from './install.ts';

/**
 * PostGraphile over the tables of the service, on a database that the service has migrated: what an API costs that nobody writes. A single row
 * could be created without the function, but not with an id that is one more than the last, and not many in one transaction.
 */
export async function startPostGraphile(url: string): Promise<Appender & AsyncDisposable> {
  installPeers();
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(APPEND);
  await client.end();
  const program = join(import.meta.dirname, 'postgraphile.js');
  const { address, ...server } = await startProgram(program, { DATABASE_URL: url, GRAPHILE_ENV: 'production' });
  const agent = new Agent({ keepAlive: true });
  const levels = (entries: number) => Array(entries).fill(40);
  return {
    name: 'PostGraphile',
    async append(log, entries) {
      const input = { log: log.replaceAll('-', ''), levels: levels(entries), messages: Array(entries).fill(LINE) };
      const { data, errors } = await ask(agent, address, { query: QUERY, variables: { input } });
      if (!data) throw new Error(`PostGraphile: ${JSON.stringify(errors)}`);
      return Number(data.appendLines.result);
    },
    async [Symbol.asyncDispose]() {
      agent.destroy();
      await server[Symbol.asyncDispose]();
    },
  };
}

const QUERY = 'mutation Append($input: AppendLinesInput!) { appendLines(input: $input) { result } }';

const APPEND = `
  create function append_lines(log text, levels int[], messages text[]) returns bigint language sql volatile as $$
    with head as (
      insert into backup_log_heads as h (backupid, lastid) values (log, cardinality(levels))
      on conflict (backupid) do update set lastid = h.lastid + excluded.lastid returning lastid
    ), entries as (
      insert into backup_logs (backupid, id, loglevel, message, created_at)
      select log, lastid - cardinality(levels) + n, level, message, extract(epoch from now())::bigint
      from head, unnest(levels, messages) with ordinality as e (level, message, n)
    )
    select lastid from head
  $$`;

type Answer = { data?: { appendLines: { result: string } }; errors?: unknown };

function ask(agent: Agent, address: string, body: object): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const [host, port] = address.split(':');
  const options = { agent, host, port, path: '/graphql', method: 'POST' };
  const call = request({ ...options, headers: { 'content-type': 'application/json' } }, response => {
    let text = '';
    response.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    response.on('end', () => resolve(JSON.parse(text) as Answer));
  });
  call.on('error', reject).end(JSON.stringify(body));
  return promise;
}
