import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Counter, Histogram, Registry } from 'prom-client';
import type { Tally } from './ledger.ts';
import type { Replica } from './replica.ts';

/** What the tallies of replicas say, for Prometheus. */
export class Metrics {
  readonly registry = new Registry();
  readonly #latency: Histogram<'replica'>;
  readonly #address: Map<Tally, string>;

  constructor(replicas: Replica[]) {
    this.#address = new Map(replicas.map(({ tally, address }) => [tally, address]));
    for (const [name, { help, of }] of Object.entries(COUNTERS)) {
      new Counter({
        name: `backup_canary_${name}_total`,
        help,
        labelNames: ['replica'],
        registers: [this.registry],
        // The tallies are the only books; this copies them when it is asked.
        collect() {
          this.reset();
          for (const { tally, address } of replicas) this.inc({ replica: address }, of(tally));
        },
      });
    }
    this.#latency = new Histogram({
      name: 'backup_canary_latency_seconds',
      help: 'From the answer to an append until the delivery of the entry',
      labelNames: ['replica'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers: [this.registry],
    });
  }

  observe(tally: Tally, latencyMs: number): void {
    this.#latency.observe({ replica: this.#address.get(tally)! }, latencyMs / 1000);
  }
}

const COUNTERS: Record<string, { help: string; of(tally: Tally): number }> = {
  written: { help: 'Entries acknowledged by this replica', of: tally => tally.written },
  delivered: { help: 'Entries delivered by this replica, written through any', of: tally => tally.delivered },
  missing: { help: 'Acknowledged entries that this replica did not deliver in time', of: tally => tally.missing },
  duplicate: { help: 'Entries delivered again', of: tally => tally.duplicate },
  out_of_order: { help: 'Entries delivered after a later one', of: tally => tally.outOfOrder },
  late: { help: 'Entries delivered later than they should be', of: tally => tally.late },
};

/** Answers GET /metrics. Port 0 takes a free one. */
export async function serveMetrics(
  { registry }: Metrics,
  { host, port }: { host: string; port: number },
): Promise<AsyncDisposable & { url: string }> {
  const server = createServer(async (request, response) => {
    if (request.url !== '/metrics') return void response.writeHead(404).end();
    const text = await registry.metrics();
    response.writeHead(200, { 'content-type': registry.contentType }).end(text);
  });
  server.listen(port, host);
  await once(server, 'listening');
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}/metrics`,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
