// Subscribers of one stream of Redis, a process of their own: node redis-tails.ts '{"port", "log", "subscribers", "lastId"}'. Each waits with XREAD
// BLOCK on a connection of its own, and has to get every entry, once and in order.
import { type Stream, stream } from '../subscribe.ts';
import { DOLLAR, endOfValue, numberAt, RedisConnection, STAR } from './redis.ts';

const { port, log, subscribers, lastId } = JSON.parse(process.argv[2]!) as {
  port: number;
  log: string;
  subscribers: number;
  lastId: number;
};

class Tail implements Stream {
  live = false;
  count = 0;

  get over(): boolean {
    return this.count === lastId;
  }

  take(message: Buffer): void {
    this.live = true; // the first one is the answer to PING
    if (message[0] === STAR) this.#walk(message, 0, 0);
  }

  /** One stream, of which name and entries, of which each, of which the id: four levels down. */
  #walk(message: Buffer, from: number, depth: number): number {
    if (message[from] === DOLLAR) {
      if (depth === 4) this.#entry(message, from);
      return endOfValue(message, from);
    }
    let at = message.indexOf('\r\n', from, 'latin1') + 2;
    for (let left = numberAt(message, from + 1); left > 0; left--) at = this.#walk(message, at, depth + 1);
    return at;
  }

  #entry(message: Buffer, from: number): void {
    const id = numberAt(message, message.indexOf('\r\n', from, 'latin1') + 4); // behind `0-`
    if (id !== this.count + 1) throw new Error(`entry ${id} came behind ${this.count}`);
    this.count = id;
  }
}

stream(
  subscribers,
  () => new Tail(),
  (take, tail) => {
    const connection = new RedisConnection(port);
    let ended = false;
    const read = (message: Buffer) => {
      take(message);
      if (ended || tail.over) return;
      void connection.ask('XREAD', 'COUNT', '500', 'BLOCK', '0', 'STREAMS', log, `0-${tail.count}`).then(read);
    };
    void connection.ask('PING').then(read);
    return () => {
      ended = true;
      connection[Symbol.dispose]();
    };
  },
);
