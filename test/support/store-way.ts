import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { account } from './s3.ts';

/** A request as it came, and an answer of the store to it. */
export type Asked = { method: string; path: string; headers: IncomingMessage['headers']; body: Buffer };
export type Answered = { status: number; headers: IncomingMessage['headers']; body: Buffer };

/** What becomes of a request on the way to the store; `pass` has the store do it, and `answer` says to whoever asked what it is told. */
export type Mishap = (
  asked: Asked,
  way: { pass(): Promise<Answered>; answer(what: Answered): void; breakOff(): void },
) => Promise<void>;

/** The way of a replica to a server of S3, on which things can go wrong. */
export class StoreWay implements AsyncDisposable {
  /** Undefined: every request is passed on, and answered. */
  mishap: Mishap | undefined;
  /** When less was given back last than the store has; by `performance.now()`. */
  spoiledAt = Number.NEGATIVE_INFINITY;
  readonly #server: Server;
  readonly #endpoint: URL;
  readonly #underWay = new Set<Promise<void>>();
  #written = Promise.withResolvers<void>();

  private constructor(server: Server, endpoint: URL) {
    this.#server = server;
    this.#endpoint = endpoint;
  }

  static async start(endpoint: string): Promise<StoreWay> {
    const server = createServer();
    const way = new StoreWay(server, new URL(endpoint));
    server.on('request', (asked, response) => {
      const handled = way.#handle(asked, response).catch(() => void response.destroy());
      way.#underWay.add(handled);
      void handled.finally(() => way.#underWay.delete(handled));
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return way;
  }

  /** For a replica that takes this way to a bucket. */
  settings(bucket: string): Record<string, string> {
    const { port } = this.#server.address() as { port: number };
    return { SEGMENT_STORE: `s3://${bucket}?endpoint=http://127.0.0.1:${port}`, ...account };
  }

  /** Resolves when an object is about to be written. */
  writing(): Promise<void> {
    return this.#written.promise;
  }

  /** Whatever was on its way has arrived. */
  async arrived(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise(resolve => this.#server.close(resolve));
  }

  async #handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url, headers } = incoming;
    const asked = { method: method!, path: url!, headers, body: await buffer(incoming) };
    if (method === 'PUT') {
      this.#written.resolve();
      this.#written = Promise.withResolvers();
    }
    let whole: Answered | undefined;
    const way = {
      pass: async () => {
        whole = await this.#pass(asked);
        return whole;
      },
      answer: ({ status, headers, body }: Answered) => {
        if (method === 'GET' && whole && body.length < whole.body.length) this.spoiledAt = performance.now();
        response.writeHead(status, headers).end(body);
      },
      breakOff: () => void response.destroy(),
    };
    if (this.mishap) await this.mishap(asked, way);
    else way.answer(await way.pass());
  }

  /** As it was signed, so with the name of the host that it was meant for. */
  async #pass({ method, path, headers, body }: Asked): Promise<Answered> {
    const { hostname, port } = this.#endpoint;
    const passed = request({ method, hostname, port, path, headers, agent: false });
    passed.end(body);
    const [answer] = (await once(passed, 'response')) as [IncomingMessage];
    const { 'transfer-encoding': _, connection: __, ...rest } = answer.headers;
    return { status: answer.statusCode!, headers: rest, body: await buffer(answer) };
  }
}
