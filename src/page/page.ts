import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { toJson } from '@bufbuild/protobuf';
import { type StatusError, toStatusError } from '../errors.ts';
import { BatchGetControllersResponseSchema } from '../gen/backup/v1/controller_pb.ts';
import { Code } from '../gen/google/rpc/code_pb.ts';
import type { Origin } from '../grpc/local.ts';
import { type PageFile, readFiles } from './files.ts';
import { lines, runs } from './live.ts';
import { headers, refusalOf } from './manners.ts';
import { Overview } from './overview.ts';
import type { Services } from './services.ts';
import { sendEvents, type Told } from './stream.ts';

export type PageOptions = {
  /** Host and port to listen on; port 0 takes a free one. */
  address: string;
  services: Services;
  /** Whether a browser may know the service by this host and port. */
  allowsHost(host: string): boolean;
  /** How long a browser may take to accept one event. */
  writeTimeoutMs: number;
  /** Told what nobody expects. */
  fault(error: unknown): void;
};

/** Serves the status page. Disposing tells its streams to end, and closes. */
export async function servePage(options: PageOptions): Promise<AsyncDisposable & { port: number }> {
  const { services, writeTimeoutMs } = options;
  const files = await readFiles();
  const overview = new Overview(services);
  const ending = new AbortController();

  const streams: Record<string, (query: URLSearchParams, token: string, origin: Origin) => AsyncIterable<Told>> = {
    '/runs': (_, token, origin) => runs(services, token, origin),
    '/lines': (query, token, origin) => lines(services, query, token, origin),
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refusal = refusalOf(request, options.allowsHost);
    if (refusal === 405) response.setHeader('allow', 'GET, HEAD');
    if (refusal) return void response.writeHead(refusal).end();
    const [, pathname, search] = /^([^?]*)(.*)$/s.exec(request.url!)!;
    const query = new URLSearchParams(search);
    const origin = originOf(request, response, ending.signal);
    const file = files.get(pathname!);
    if (file) return sendFile(request, response, file);
    if (pathname === '/') {
      const { page, refusal: refused } = await overview.show(query, origin);
      response.writeHead(refused ? statusOf(refused) : 200, { 'content-type': 'text/html; charset=utf-8' });
      return void response.end(page.text);
    }
    if (pathname === '/ended') {
      const found = await services.controllers.batchGetControllers({ backupIds: query.getAll('backup') }, origin);
      response.writeHead(200, { 'content-type': 'application/json' });
      return void response.end(JSON.stringify(toJson(BatchGetControllersResponseSchema, found)));
    }
    const stream = streams[pathname!];
    if (!stream) return void response.writeHead(404).end();
    if (request.method === 'HEAD') return void response.end();
    // A browser that comes back by itself says where it was in a header; a page that opens a stream anew has no way to set one.
    const token = request.headers['last-event-id']?.toString() || query.get('resume') || '';
    await sendEvents(response, stream(query, token, origin), { signal: origin.signal, writeTimeoutMs });
  }

  const server = createServer({ maxHeaderSize: LONGEST_HEADERS }, (request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value!);
    answer(request, response).catch((error: unknown) => {
      const refused = toStatusError(error);
      if (refused.cause !== undefined) options.fault(refused.cause);
      if (response.headersSent) response.destroy();
      else response.writeHead(statusOf(refused), { 'content-type': 'text/plain; charset=utf-8' }).end(refused.message);
    });
  });
  Object.assign(server, { headersTimeout: 5000, requestTimeout: 5000, maxConnections: 1000 });
  const [, host, port] = /^(.*):(\d+)$/.exec(options.address)!;
  server.listen(Number(port), host!.replace(/^\[(.*)\]$/, '$1'));
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      ending.abort();
      server.closeIdleConnections();
      const late = setTimeout(() => server.closeAllConnections(), LAST_WORDS_MS);
      await closed;
      clearTimeout(late);
    },
  };
}

/** Bytes. What a browser comes back with stands in a header: the longest token that TailLogs takes, and the rest. */
const LONGEST_HEADERS = 2_097_152 + 16_384;

/** What a browser may take to read that the service shuts down. */
const LAST_WORDS_MS = 500;

function originOf({ socket }: IncomingMessage, response: ServerResponse, ending: AbortSignal): Origin {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  return { peer: `${socket.remoteAddress}:${socket.remotePort}`, signal: gone.signal, ending };
}

function sendFile(request: IncomingMessage, response: ServerResponse, { bytes, type, etag }: PageFile): void {
  response.setHeader('cache-control', 'no-cache').setHeader('etag', etag);
  if (request.headers['if-none-match'] === etag) response.writeHead(304).end();
  else response.writeHead(200, { 'content-type': type, 'content-length': bytes.length }).end(bytes);
}

function statusOf({ code }: StatusError): number {
  return statuses[code] ?? 500;
}

/** As `google.rpc.Code` says of its values. */
const statuses: Partial<Record<Code, number>> = {
  [Code.INVALID_ARGUMENT]: 400,
  [Code.NOT_FOUND]: 404,
  [Code.RESOURCE_EXHAUSTED]: 429,
  [Code.UNAVAILABLE]: 503,
  [Code.DEADLINE_EXCEEDED]: 504,
};
