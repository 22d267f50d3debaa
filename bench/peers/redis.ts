import { connect, type Socket } from 'node:net';
import type { Log } from '../log.ts';
import { LINE } from '../raw-append.ts';
import { follow } from '../subscribe.ts';
import { type PeerServer, startServer } from './server.ts';

/** Redis as it has to be for an answer to mean what the service's does: on the disk. */
export function startRedis(): Promise<PeerServer | undefined> {
  return startServer('redis-server', (port, folder) => [
    ...['--port', port, '--bind', '127.0.0.1', '--dir', folder, '--loglevel', 'warning'],
    ...['--save', '', '--appendonly', 'yes', '--appendfsync', 'always'],
  ]);
}

/** A log is a stream whose entries are numbered 0-1, 0-2 and so on. Its protocol is spoken by hand: a client library would take more time than Redis. */
export function redisLog({ port }: PeerServer): Log {
  const connection = new RedisConnection(port);
  return {
    name: 'Redis Streams',
    async append(log, entries) {
      const answers = Array.from({ length: entries }, () => connection.ask('XADD', log, '0-*', 'm', LINE));
      const last = (await Promise.all(answers)).at(-1)!.toString('latin1');
      return Number(last.match(/^\$\d+\r\n0-(\d+)/)![1]);
    },
    follow: async (log, subscribers, lastId) => follow('peers/redis-tails.ts', { port, log, subscribers, lastId }),
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  };
}

/** Sends what is asked in one turn together, and gives each its answer as it stands on the wire. */
export class RedisConnection implements Disposable {
  readonly #socket: Socket;
  readonly #waiting: ((answer: Buffer) => void)[] = [];
  #rest: Buffer = Buffer.alloc(0);
  #next = 0;

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1').setNoDelay();
    this.#socket.on('data', bytes => this.#read(bytes));
  }

  ask(...words: string[]): Promise<Buffer> {
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork();
      process.nextTick(() => this.#socket.uncork());
    }
    this.#socket.write(`*${words.length}\r\n${words.map(word => `$${word.length}\r\n${word}\r\n`).join('')}`);
    this.#waiting.push(resolve);
    return promise;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #read(bytes: Buffer): void {
    const all = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    let from = 0;
    for (let end = endOfValue(all, 0); end > 0; end = endOfValue(all, from)) {
      if (all[from] === MINUS) throw new Error(all.toString('latin1', from, end));
      const resolve = this.#waiting[this.#next]!;
      this.#waiting[this.#next++] = undefined as never;
      resolve(all.subarray(from, end));
      from = end;
    }
    if (this.#next === this.#waiting.length) this.#next = this.#waiting.length = 0;
    this.#rest = all.subarray(from);
  }
}

export const MINUS = 45;
export const DOLLAR = 36;
export const STAR = 42;

/** Where the value ends that begins here; -1 when it is not all there. */
export function endOfValue(bytes: Buffer, from: number): number {
  const line = bytes.indexOf('\r\n', from, 'latin1');
  if (line < 0) return -1;
  if (bytes[from] === DOLLAR) {
    const end = line + 2 + Math.max(0, numberAt(bytes, from + 1)) + 2;
    return end <= bytes.length ? end : -1;
  }
  let end = line + 2;
  if (bytes[from] === STAR) {
    for (let left = numberAt(bytes, from + 1); left > 0 && end > 0; left--) end = endOfValue(bytes, end);
  }
  return end;
}

/** The digits from here on. */
export function numberAt(bytes: Buffer, from: number): number {
  let value = 0;
  for (let at = from; bytes[at]! >= 48 && bytes[at]! <= 57; at++) value = value * 10 + bytes[at]! - 48;
  return value;
}
