import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { eventually } from './eventually.ts';
import { open } from './page.ts';

/** What a server-sent event says: `data` is its message. */
export type ServerSent = { id: string; event: string; data: Record<string, unknown> };

type Entries = { backupId: string; entries: { id: string; level: string; message: string }[] };

/** A reader of server-sent events that behaves as the standard asks of browsers, but that it does not come back by itself. */
export class EventReader implements Disposable {
  readonly events: ServerSent[] = [];
  /** Of the last event that had one, as a browser sends it when it comes back. */
  lastEventId: string;
  retry = '';
  /** Bytes of text that have come. */
  received = 0;
  readonly response: IncomingMessage;
  readonly closed: Promise<unknown>;
  #rest = '';

  static async open(page: string, path: string, lastEventId = ''): Promise<EventReader> {
    const headers = lastEventId ? { 'last-event-id': lastEventId } : {};
    return new EventReader(await open(page, path, { headers }), lastEventId);
  }

  private constructor(response: IncomingMessage, lastEventId: string) {
    assert.equal(response.statusCode, 200);
    assert.match(response.headers['content-type'] ?? '', /^text\/event-stream/);
    this.response = response;
    this.lastEventId = lastEventId;
    this.closed = once(response, 'close').catch(() => {});
    response.on('error', () => {});
    response.setEncoding('utf8').on('data', (text: string) => this.#read(text));
  }

  /** Entries in the order in which they came, as `backup id` and `id`. */
  get entries(): { key: string; level: string; message: string }[] {
    return this.events.flatMap(({ data }) => {
      const { backupId, entries } = (data['entries'] ?? { backupId: '', entries: [] }) as Entries;
      return entries.map(({ id, level, message }) => ({ key: `${backupId} ${id}`, level, message }));
    });
  }

  get messages(): string[] {
    return this.entries.map(({ message }) => message);
  }

  /** Waits for an event that has this in its data. */
  async told(name: string): Promise<ServerSent> {
    return eventually(() => this.events.find(({ data }) => name in data) ?? assert.fail(`no ${name} was told`));
  }

  [Symbol.dispose](): void {
    this.response.destroy();
  }

  #read(text: string): void {
    this.received += text.length;
    const events = (this.#rest + text).split('\n\n');
    this.#rest = events.pop()!;
    for (const event of events) this.#take(event);
  }

  #take(text: string): void {
    const fields = new Map(text.split('\n').map(line => line.split(/: (.*)/s, 2) as [string, string]));
    this.retry = fields.get('retry') ?? this.retry;
    this.lastEventId = fields.get('id') ?? this.lastEventId;
    if (!fields.has('data')) return;
    this.events.push({
      id: fields.get('id') ?? '',
      event: fields.get('event') ?? 'message',
      data: JSON.parse(fields.get('data')!),
    });
  }
}
