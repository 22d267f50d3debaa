import { type Span, SpanStatusCode } from '@opentelemetry/api';
import type { Pool, PoolClient } from 'pg';

/**
 * Spans of the statements that go through a pool, from their call to their answer: what waits for a connection first is in them, too. `begin`
 * gets what a statement is called, never its text, which may hold values, nor its parameters.
 */
export function followStatements(pool: Pool, begin: (summary: string) => Span | undefined): void {
  pool.query = followed(pool.query.bind(pool), begin);
  const known = new WeakSet<PoolClient>();
  pool.on('acquire', client => {
    if (known.has(client)) return;
    known.add(client);
    client.query = followed(client.query.bind(client), begin);
  });
}

type Query = Pool['query'] & PoolClient['query'];

function followed(query: unknown, begin: (summary: string) => Span | undefined): Query {
  const run = query as (...call: unknown[]) => unknown;
  const withSpan = (...call: unknown[]) => {
    // With a callback it comes from the pool, which was asked for it before; and what is submitted, a COPY, has no text.
    const text = typeof call.at(-1) === 'function' ? undefined : summaryOf(call[0]);
    const span = text && begin(text);
    if (!span) return run(...call);
    const answer = run(...call) as Promise<unknown>;
    answer.then(
      () => span.end(),
      (error: { code?: string }) => {
        if (error.code) span.setAttribute('db.response.status_code', error.code);
        span.setStatus({ code: SpanStatusCode.ERROR });
        span.end();
      },
    );
    return answer;
  };
  return withSpan as Query;
}

/** Its name, or what it does to which table. */
function summaryOf(statement: unknown): string | undefined {
  const { name, text, submit } = (typeof statement === 'string' ? { text: statement } : (statement ?? {})) as {
    name?: string;
    text?: string;
    submit?: unknown;
  };
  if (submit || text === undefined) return undefined;
  if (name) return name;
  const [verb = ''] = /[a-z]+/i.exec(text) ?? [];
  const [, table] = /\b(?:from|into|update)\s+(?:"?public"?\.)?"?(backup_[a-z_]+)/i.exec(text) ?? [];
  return table ? `${verb.toLowerCase()} ${table}` : verb.toLowerCase();
}
