import { constants, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Server } from '@grpc/grpc-js';
import type { RefusalHeaders } from './refusals.ts';

/** What a server puts up with from peers that do not behave. */
export type Endurance = {
  /** Connections above these are closed at once. */
  maxConnections: number;
  /** How long a request that is one message may take to arrive. */
  requestMs: number;
  /** How many bytes of requests that are one message each may have arrived in part, of all together. */
  partBytes: number;
  /** Paths of the methods whose request is one message. */
  single: ReadonlySet<string>;
  refusal(why: 'late' | 'full'): RefusalHeaders;
};

/**
 * Ends what grpc-js waits for without end. It begins a call when its request is there; a request that never comes as a whole costs the peer nothing
 * and the server a stream, the part that has come (up to the largest message), and no limit of ours ever sees it. A peer that sends the
 * beginnings of many large messages could fill the memory.
 *
 * grpc-js gives no way to its HTTP/2 servers, so this takes them from a private field; where it has changed and they are not found, these limits
 * do not hold, and the tests of hostile peers say so. The rest of what peers can do is refused by Node: resets above 33 a second after the first
 * 1000 of a connection (CVE-2023-44487), SETTINGS and PINGs that nobody fetches the answers of, header blocks above 64 KiB or 128 fields,
 * CONTINUATION without end, frames that are none.
 *
 * A request that has come with its headers, as nearly all do, is looked at once and forgotten.
 */
export function fortify(server: Server, endurance: Endurance): Disposable {
  const requests = new Requests(endurance);
  for (const http2Server of serversOf(server)) {
    http2Server.maxConnections = endurance.maxConnections;
    http2Server.on('stream', requests.begun);
  }
  const timer = setInterval(() => requests.endLate(), Math.min(1000, endurance.requestMs / 4)).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

class Requests {
  readonly #endurance: Endurance;
  readonly #parts = new Map<ServerHttp2Stream, { since: number; bytes: number }>();
  #arrived: ServerHttp2Stream[] = [];
  #bytes = 0;

  constructor(endurance: Endurance) {
    this.#endurance = endurance;
  }

  begun = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void => {
    if (!this.#endurance.single.has(headers[':path']!)) return;
    if (this.#arrived.push(stream) === 1) setImmediate(this.#look);
  };

  endLate(): void {
    const now = performance.now();
    for (const [stream, { since }] of this.#parts) {
      if (now - since > this.#endurance.requestMs) this.#refuse(stream, 'late');
    }
  }

  #look = (): void => {
    const arrived = this.#arrived;
    this.#arrived = [];
    for (const stream of arrived) if (!isWhole(stream)) this.#watch(stream);
  };

  #watch(stream: ServerHttp2Stream): void {
    const part = { since: performance.now(), bytes: 0 };
    this.#parts.set(stream, part);
    const forget = () => {
      if (this.#parts.delete(stream)) this.#bytes -= part.bytes;
    };
    stream.once('end', forget);
    stream.once('close', forget);
    // grpc-js has paused it or lets it flow already: this does not make it flow.
    stream.on('data', (chunk: Buffer) => {
      if (!this.#parts.has(stream)) return;
      part.bytes += chunk.length;
      this.#bytes += chunk.length;
      // One that is larger than all may be is taken when there is no other.
      if (this.#bytes > Math.max(this.#endurance.partBytes, part.bytes)) this.#refuse(stream, 'full');
    });
  }

  #refuse(stream: ServerHttp2Stream, why: 'late' | 'full'): void {
    const part = this.#parts.get(stream);
    if (part && this.#parts.delete(stream)) this.#bytes -= part.bytes;
    if (!stream.headersSent && !stream.destroyed) {
      stream.respond(this.#endurance.refusal(why), { endStream: true });
    }
    stream.close();
  }
}

function isWhole(stream: ServerHttp2Stream): boolean {
  const { readableEnded, closed, destroyed, headersSent } = stream;
  return (
    readableEnded ||
    closed ||
    destroyed ||
    headersSent ||
    stream.state.state === constants.NGHTTP2_STREAM_STATE_HALF_CLOSED_REMOTE
  );
}

function serversOf(server: Server): Iterable<Http2Server> {
  const { http2Servers } = server as unknown as { http2Servers?: Map<Http2Server, unknown> };
  return http2Servers?.keys() ?? [];
}
