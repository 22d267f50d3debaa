import { strict as assert } from 'node:assert';
import { type IncomingHttpHeaders, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { type Backend, type Replica, startReplica } from './backend.ts';

/** Settings of a replica with a status page on a free port. */
export const withPage = { PAGE_LISTEN: '127.0.0.1:0' };

/** Host and port of a replica's page. */
export function pageOf({ app }: Pick<Replica, 'app'>): string {
  assert.ok(app.pageAddress, 'there is no status page');
  return app.pageAddress;
}

/** Starts a replica whose page has the address of one that has gone. */
export function restart(backend: Backend, page: string, settings: Record<string, string> = {}): Promise<Replica> {
  return startReplica(backend.database.url, { ...settings, PAGE_LISTEN: page });
}

export type Answer = { status: number; headers: IncomingHttpHeaders; text: string };

/** One answer of the page, to whatever headers. */
export async function ask(page: string, path: string, options: RequestOptions = {}): Promise<Answer> {
  const response = await open(page, path, options);
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return { status: response.statusCode!, headers: response.headers, text };
}

/** An answer that is still to be read. Its connection is its own. */
export function open(page: string, path: string, options: RequestOptions = {}): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const [, host, port] = /^(.*):(\d+)$/.exec(page)!;
  // Not as an address, of which Node would put the path right.
  request({ host, port, path, agent: false, ...options })
    .on('response', resolve)
    .on('error', reject)
    .end();
  return promise;
}
