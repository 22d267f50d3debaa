import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A span as OTLP has it in JSON, its attributes as a record. */
export type Spanned = {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  attributes: Record<string, unknown>;
  status: { code?: number };
  links: { traceId: string; spanId: string }[];
  events: { name: string }[];
};

/** What receives spans by OTLP over HTTP, and keeps them. */
export type Collector = AsyncDisposable & {
  readonly endpoint: string;
  readonly spans: Spanned[];
  readonly resources: Record<string, unknown>[];
};

export async function startCollector(): Promise<Collector> {
  const spans: Spanned[] = [];
  const resources: Record<string, unknown>[] = [];
  const server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    if (request.url === '/v1/traces') {
      for (const { resource, scopeSpans } of JSON.parse(Buffer.concat(pieces).toString()).resourceSpans) {
        resources.push(recordOf(resource.attributes));
        for (const one of scopeSpans.flatMap((scope: { spans: object[] }) => scope.spans))
          spans.push({ links: [], events: [], ...one, attributes: recordOf(one.attributes) });
      }
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`,
    spans,
    resources,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

function recordOf(attributes: { key: string; value: Record<string, unknown> }[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
