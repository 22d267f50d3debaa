import { join } from 'node:path';
import { grpcLog, type Log } from '../log.ts';
import { startProgram } from '../service.ts';
import { natsLog, startNats } from './nats.ts';
import { redisLog, startRedis } from './redis.ts';

/** Others that keep logs and tell of them, as far as the machine has them: what most teams would write, on a database of its own, and brokers. */
export async function startLogPeers(url: string): Promise<AsyncDisposable & { readonly logs: Log[] }> {
  const opened = new AsyncDisposableStack();
  const plain = opened.use(await startProgram(join(import.meta.dirname, 'plain.ts'), { DATABASE_URL: url }));
  const logs = [opened.use(grpcLog('plain service', plain.address, { loose: true }))];
  const redis = opened.use(await startRedis());
  if (redis) logs.push(opened.use(redisLog(redis)));
  const nats = opened.use(await startNats());
  if (nats) logs.push(opened.use(await natsLog(nats)));
  return { logs, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
