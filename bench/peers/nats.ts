import { connect, type Socket } from 'node:net';
import type { Log } from '../log.ts';
import { LINE } from '../raw-append.ts';
import { follow } from '../subscribe.ts';
import { type PeerServer, startServer } from './server.ts';

/** JetStream in files. It does not wait for the disk before it answers, so its appends promise less than those of the service. */
export function startNats(): Promise<PeerServer | undefined> {
  return startServer('nats-server', (port, folder) => [
    ...['--addr', '127.0.0.1', '--port', port, '--jetstream', '--store_dir', folder],
    ...['--log', `${folder}/log`],
  ]);
}

/** A log is a stream with one subject. The protocol is spoken by hand, as with Redis. */
export async function natsLog({ port }: PeerServer): Promise<Log> {
  const connection = new NatsConnection(port);
  const waiting = new Map<string, (answer: string) => void>();
  const inbox = newInbox();
  await connection.subscribe(`${inbox}.*`, (subject, _reply, payload) => {
    waiting.get(subject)?.(payload.toString());
    waiting.delete(subject);
  });
  let asked = 0;
  const ask = (subject: string, payload: string) => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const reply = `${inbox}.${asked++}`;
    waiting.set(reply, resolve);
    connection.publish(subject, payload, reply);
    return promise.then(text => {
      const answer = JSON.parse(text) as { seq: number; error?: { description: string } };
      if (answer.error) throw new Error(`NATS: ${answer.error.description}`);
      return answer;
    });
  };
  const streams = new Map<string, Promise<unknown>>();
  const create = (name: string) =>
    ask(`$JS.API.STREAM.CREATE.${name}`, JSON.stringify({ name, subjects: [`log.${name}`], storage: 'file' }));
  const stream = (log: string) => streams.get(log) ?? streams.set(log, create(log)).get(log)!;
  return {
    name: 'NATS JetStream',
    async append(log, entries) {
      await stream(log);
      const answers = await Promise.all(Array.from({ length: entries }, () => ask(`log.${log}`, LINE)));
      return answers.at(-1)!.seq;
    },
    async follow(log, subscribers, lastId) {
      await stream(log);
      return follow('peers/nats-tails.ts', { port, log, subscribers, lastId });
    },
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  };
}

export type Heard = (subject: string, reply: string, payload: Buffer) => void;

let inboxes = 0;
export const newInbox = () => `_INBOX.${process.pid}.${inboxes++}`;

/** Sends what is published in one turn together, and hands on what comes. */
export class NatsConnection implements Disposable {
  readonly #socket: Socket;
  readonly #heard: Heard[] = [];
  #pong = Promise.withResolvers<void>();
  #rest: Buffer = Buffer.alloc(0);

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1').setNoDelay();
    this.#socket.on('data', bytes => this.#read(bytes));
    this.#socket.write('CONNECT {"verbose":false,"pedantic":false,"lang":"bench","version":"0"}\r\n');
  }

  async subscribe(subject: string, heard: Heard): Promise<void> {
    this.#pong = Promise.withResolvers();
    this.#socket.write(`SUB ${subject} ${this.#heard.push(heard) - 1}\r\nPING\r\n`);
    await this.#pong.promise;
  }

  publish(subject: string, payload: string, reply: string): void {
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork();
      process.nextTick(() => this.#socket.uncork());
    }
    this.#socket.write(`PUB ${subject} ${reply} ${payload.length}\r\n${payload}\r\n`);
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #read(bytes: Buffer): void {
    const all = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    let from = 0;
    for (let line = all.indexOf('\r\n'); line >= 0; line = all.indexOf('\r\n', from)) {
      const [verb, ...words] = all.toString('latin1', from, line).split(' ');
      if (verb === '-ERR') throw new Error(`NATS: ${words.join(' ')}`);
      if (verb === 'PONG') this.#pong.resolve();
      if (verb === 'PING') this.#socket.write('PONG\r\n');
      let end = line + 2;
      if (verb === 'MSG') {
        end += Number(words.at(-1)) + 2;
        if (end > all.length) break;
        const [subject = '', id, reply = ''] = words;
        this.#heard[Number(id)]!(subject, words.length > 3 ? reply : '', all.subarray(line + 2, end - 2));
      }
      from = end;
    }
    this.#rest = all.subarray(from);
  }
}
