import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { alternate, compareCost, type Figure } from './figure.ts';
import { fillControllers, CALLS as GETS, getAll } from './get.ts';
import { grpcLog } from './log.ts';
import { connect, createDatabase, processorMs, residentMiB, type Service, startService } from './service.ts';

const SINGLE = { callers: 64, calls: 20_000 };

/** What it costs to be watched: calls, memory and start of a replica that counts, and of one that traces one call in a hundred, beside one that does neither. */
export async function telemetry(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_telemetry');
  await using receiver = await startReceiver();
  const metrics = { METRICS_LISTEN: '127.0.0.1:0' };
  const traces = { TRACES_ENDPOINT: receiver.url, TRACES_RATIO: '0.01' };
  const kinds = { off: {}, metrics, traces, both: { ...metrics, ...traces } };
  const idle = await alternate(
    Object.entries(kinds).map(([name, settings]) => ({ name, run: () => idling(url, settings) })),
    rounds,
    'ms, MiB',
  );
  await using services = new AsyncDisposableStack();
  const started: [string, Service][] = [];
  for (const [name, settings] of Object.entries(kinds))
    started.push([name, services.use(await startService(url, settings))]);
  const backupIds = await fillControllers(url);
  const costs = await alternate(
    started.map(([name, service]) => ({
      name,
      run: async () => {
        const channel = connect(service.address);
        const get = await perCall(service, GETS, () => getAll(channel, backupIds));
        channel.close();
        return { get, append: await perCall(service, SINGLE.calls, () => appending(service.address)) };
      },
    })),
    rounds,
    'µs',
  );
  return ['metrics', 'traces', 'both'].flatMap(name => [
    ...['get', 'append'].map(what =>
      compareCost(`${what} with ${name}`, costs.get(`${name} ${what}`)!, costs.get(`off ${what}`)!, null, 'µs'),
    ),
    compareCost(`memory with ${name}`, idle.get(`${name} MiB`)!, idle.get('off MiB')!, null, 'MiB'),
    compareCost(`start with ${name}`, idle.get(`${name} ms`)!, idle.get('off ms')!, null, 'ms'),
  ]);
}

/** Processor time for a call, in µs: what others do on the machine changes it less than how many calls there are in a second. */
async function perCall(service: Service, calls: number, work: () => Promise<unknown>): Promise<number> {
  const before = processorMs(service);
  await work();
  return ((processorMs(service) - before) * 1000) / calls;
}

async function idling(url: string, settings: Record<string, string>): Promise<Record<string, number>> {
  const began = performance.now();
  await using service = await startService(url, settings);
  const ms = performance.now() - began;
  await delay(2000);
  return { ms, MiB: residentMiB(service) };
}

async function appending(address: string): Promise<void> {
  using log = grpcLog('service', address);
  let left = SINGLE.calls;
  await Promise.all(
    Array.from({ length: SINGLE.callers }, async () => {
      const own = crypto.randomUUID();
      while (left-- > 0) await log.append(own, 1);
    }),
  );
}

/** Takes spans and throws them away. */
async function startReceiver(): Promise<AsyncDisposable & { url: string }> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}
