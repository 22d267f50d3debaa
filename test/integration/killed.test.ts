import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { type Client, status } from '@grpc/grpc-js';
import { clients, connect, type Replica } from '../support/backend.ts';
import { createDatabase, type Database } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import type { Truth } from '../support/history.ts';
import { ingestAll } from '../support/ingesting.ts';
import { type Running, ready, run } from '../support/process.ts';
import { Subscriber } from '../support/subscriber.ts';
import { newBackupId, truthOf, writeAll } from '../support/writing.ts';

const SUBSCRIBERS = 30;

describe('Two replicas under load, of which one is killed and then the other', () => {
  it('keep everything acknowledged once, and deliver it once and in order to everybody who resumes on the other one', async () => {
    await using database = await createDatabase();
    await using one = await Mortal.start(database);
    await using other = await Mortal.start(database);
    const replicas = [one, other];
    const backupIds = [newBackupId(), newBackupId(), newBackupId()];
    const writing = new AbortController();
    const reading = new AbortController();
    const readers = Array.from(
      { length: SUBSCRIBERS },
      (_, i) => new Reader(replicas, backupIds, i % 2, reading.signal),
    );
    const writers = backupIds.flatMap((backupId, i) => [
      appendUntil(writing.signal, replicas, backupId, `one ${i}`),
      appendUntil(writing.signal, replicas.toReversed(), backupId, `other ${i}`),
      ingestUntil(writing.signal, replicas, backupId, `stream ${i}`),
    ]);
    const kept = async () => Number((await database.query('select count(*) from backup_logs'))[0]!['count']);
    const grown = async (by: number) => {
      const enough = (await kept()) + by;
      await eventually(async () => assert.ok((await kept()) >= enough));
    };
    const resumed = () => readers.reduce((sum, { history }) => sum + history.all('started').length - 1, 0);

    await Promise.all(readers.map(({ subscriber }) => subscriber.told('started')));
    await grown(300);
    for (const mortal of replicas) {
      const before = resumed();
      const orphans = readers.filter(({ on }) => on === mortal).length;
      assert.ok(orphans >= SUBSCRIBERS / 2, `only ${orphans} are there to be cut off`);
      await mortal.kill();
      await eventually(() => assert.ok(resumed() >= before + orphans));
      await grown(300); // by the one that is left
      await mortal.restart();
      await grown(300);
    }
    writing.abort();
    const written = await Promise.all(writers);
    const truth = await truthOf(database, backupIds);
    for (const { subscriber, over } of readers) await Promise.race([subscriber.received(truth.length), over]);
    reading.abort();
    await Promise.all(readers.map(({ over }) => over));

    assert.deepEqual(
      backupIds.map(backupId => linesOf(truth, backupId).toSorted()),
      backupIds.map(backupId => written.flatMap(w => (w.backupId === backupId ? w.lines : [])).toSorted()),
    );
    for (const { lines, backupId } of written) {
      const own = new Set(lines);
      assert.deepEqual(
        linesOf(truth, backupId).filter(line => own.has(line)),
        lines,
        'not in the order of their writer',
      );
    }
    for (const backupId of backupIds) {
      const ids = truth.filter(row => row.backupid === backupId).map(({ id }) => Number(id));
      assert.deepEqual(
        ids,
        [...ids.keys()].map(i => i + 1),
        'ids are not dense',
      );
    }
    for (const { history } of readers) history.complete(truth);
  });
});

/** A replica that is a process of its own, and comes back under its address. */
class Mortal implements Pick<Replica, 'logs'>, AsyncDisposable {
  readonly logs: Replica['logs'];
  readonly #database: Database;
  readonly #address: string;
  readonly #channel: Client;
  #process: Running;

  constructor(database: Database, process: Running, address: string) {
    this.#database = database;
    this.#process = process;
    this.#address = address;
    this.#channel = connect(address);
    this.logs = clients(this.#channel).logs;
  }

  static async start(database: Database): Promise<Mortal> {
    const process = serve(database, '127.0.0.1:0');
    return new Mortal(database, process, await ready(process));
  }

  async kill(): Promise<void> {
    this.#process.child.kill('SIGKILL');
    await this.#process.exit();
  }

  async restart(): Promise<void> {
    this.#process = serve(this.#database, this.#address);
    await ready(this.#process);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#channel.close();
    await this.#process[Symbol.asyncDispose]();
  }
}

function serve({ url }: Database, LISTEN: string): Running {
  return run('node', ['src/main.ts'], { DATABASE_URL: url, LISTEN, SERVICE_LOG: 'silent', RETENTION: 'off' });
}

/** Follows some logs; resumes with the last token, on the other replica, whenever the stream breaks. */
class Reader {
  subscriber: Subscriber;
  on: Mortal;
  readonly over: Promise<void>;

  constructor(replicas: Mortal[], backupIds: string[], first: number, signal: AbortSignal) {
    this.on = replicas[first]!;
    this.subscriber = new Subscriber(this.on, { backupIds, follow: true });
    this.over = this.#goOn(replicas, signal);
    this.over.catch(() => {});
    signal.addEventListener('abort', () => void this.subscriber.cancel());
  }

  async #goOn(replicas: Mortal[], signal: AbortSignal): Promise<void> {
    for (;;) {
      const error = await this.subscriber.done;
      if (signal.aborted) return;
      if (error?.code !== status.UNAVAILABLE) throw error ?? new Error('the stream has ended');
      this.on = replicas.find(replica => replica !== this.on)!;
      this.subscriber = this.subscriber.resume(this.on);
      // A channel to one that is dead refuses at once: as fast as a loop can ask.
      await new Promise(resolve => setTimeout(resolve, 20));
    }
  }

  get history() {
    return this.subscriber.history;
  }
}

type Written = { backupId: string; lines: string[] };

async function appendUntil(signal: AbortSignal, replicas: Mortal[], backupId: string, name: string): Promise<Written> {
  const lines: string[] = [];
  for (let i = 0; !signal.aborted; i++) {
    await writeAll(replicas, backupId, `${name} call ${i} line`, 1, 3);
    lines.push(...[0, 1, 2].map(n => `${name} call ${i} line ${n}`));
  }
  return { backupId, lines };
}

async function ingestUntil(signal: AbortSignal, replicas: Mortal[], backupId: string, name: string): Promise<Written> {
  const writerId = randomUUID();
  const batches: string[][] = [];
  let turn = 0;
  while (!signal.aborted) {
    for (let i = 0; i < 50; i++) batches.push([1, 2, 3].map(n => `${name} batch ${batches.length} line ${n}`));
    await ingestAll(() => replicas[turn++ % replicas.length]!, { backupId, writerId }, batches);
  }
  return { backupId, lines: batches.flat() };
}

function linesOf(truth: Truth, backupId: string): string[] {
  return truth.filter(row => row.backupid === backupId).map(({ message }) => message as string);
}
