import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import type { Books } from './books.ts';

/** Answers GET /metrics, and /healthz as health does: 200 while SERVING, else 503. Port 0 takes a free one. */
export async function serveMetrics(
  registry: Registry,
  address: string,
  { health }: Books,
): Promise<AsyncDisposable & { port: number }> {
  const pages: Record<string, (response: ServerResponse) => Promise<void> | void> = {
    async '/metrics'(response) {
      const text = await registry.metrics();
      response.writeHead(200, { 'content-type': registry.contentType }).end(text);
    },
    '/healthz'(response) {
      response.writeHead(health.serving ? 200 : 503).end(health.serving ? 'SERVING\n' : 'NOT_SERVING\n');
    },
  };
  const server = createServer(async (request, response) => {
    const page = pages[request.url?.split('?')[0] ?? ''];
    if (!page) return void response.writeHead(404).end();
    if (request.method !== 'GET') return void response.writeHead(405, { allow: 'GET' }).end();
    await Promise.try(page, response).catch(() => response.writeHead(500).end());
  });
  // A scraper says what it wants at once, and a few are all there are.
  Object.assign(server, { headersTimeout: 5000, requestTimeout: 5000, maxConnections: 100 });
  const [, host, port] = /^(.*):(\d+)$/.exec(address)!;
  server.listen(Number(port), host!.replace(/^\[(.*)\]$/, '$1'));
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
