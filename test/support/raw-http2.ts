import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { eventually } from './eventually.ts';

/** A connection that says in HTTP/2 whatever a test likes, right or wrong. */
export class RawConnection implements Disposable {
  readonly #socket: Socket;
  readonly #said: Buffer[] = [];
  closed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', data => this.#said.push(data));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
    });
  }

  /** Connected, with nothing said yet. */
  static async open(address: string): Promise<RawConnection> {
    const socket = connect(Number(address.split(':')[1]), '127.0.0.1');
    const raw = new RawConnection(socket);
    await Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(() => {});
    return raw;
  }

  /** The same with the preface and empty settings. */
  static async greeted(address: string, settings: Buffer = Buffer.alloc(0)): Promise<RawConnection> {
    const raw = await RawConnection.open(address);
    await raw.send(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, settings)]));
    return raw;
  }

  /** Resolves when the kernel has taken it, or the connection is closed. */
  async send(bytes: Buffer): Promise<void> {
    if (this.closed || this.#socket.destroyed) return;
    await new Promise<void>(resolve => {
      const done = () => {
        this.#socket.off('close', done);
        resolve();
      };
      this.#socket.once('close', done);
      this.#socket.write(bytes, done);
    });
  }

  /** Looks alive: answers whoever asks whether it is. */
  answerPings(): void {
    let answered = 0;
    this.#socket.on('data', () => {
      const pings = this.frames().filter(({ type, flags }) => type === PING && flags === 0);
      for (const { payload } of pings.slice(answered)) void this.send(frame(PING, 1, 0, payload));
      answered = pings.length;
    });
  }

  /** Resolves when the other side has read what was sent so far, or has closed. */
  async caughtUp(): Promise<void> {
    const answers = () => this.frames().filter(({ type, flags }) => type === PING && flags === 1).length;
    const before = answers();
    await this.send(frame(PING, 0, 0, Buffer.alloc(8)));
    await eventually(() => assert.ok(this.closed || answers() > before));
  }

  /** Reads no more. */
  deafen(): void {
    this.#socket.pause();
  }

  /** Types of the frames that have come. */
  frames(): { type: number; flags: number; stream: number; payload: Buffer }[] {
    const all = Buffer.concat(this.#said);
    const found = [];
    for (let at = 0; at + 9 <= all.length; ) {
      const length = all.readUIntBE(at, 3);
      const payload = all.subarray(at + 9, at + 9 + length);
      found.push({ type: all[at + 3]!, flags: all[at + 4]!, stream: all.readUInt32BE(at + 5), payload });
      at += 9 + length;
    }
    return found;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

// Types of frames.
export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

// Flags.
export const END_STREAM = 1;
export const END_HEADERS = 4;

export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header block, nothing of it compressed. */
export function block(headers: [string, string][]): Buffer {
  return Buffer.concat(headers.flatMap(([name, value]) => [Buffer.of(0), text(name), text(value)]));
}

/** The headers of a call. */
export function call(path: string, more: [string, string][] = []): [string, string][] {
  return [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    [':authority', 'localhost'],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ...more,
  ];
}

/** A message behind its prefix; `length` is what the prefix says. */
export function message(bytes: Buffer, { compressed = 0, length = bytes.length } = {}): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = compressed;
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, bytes]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A string of HPACK. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  const length = [];
  if (bytes.length < 127) length.push(bytes.length);
  else {
    length.push(127);
    let rest = bytes.length - 127;
    for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}
