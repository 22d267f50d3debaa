import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** A TCP connection to a server that can go dead without being closed, as when a cable is cut or a firewall forgets it. */
export class Cable implements AsyncDisposable {
  readonly #server: Server;
  #to: Peer;
  readonly #sockets = new Set<Socket>();
  readonly #frozen = new Set<Socket>();
  connections = 0;
  /** Is given all that goes to the server. */
  tap: ((data: Buffer) => void) | undefined;
  /** How long whatever comes from now on takes in each direction, in milliseconds. */
  latencyMs = 0;

  private constructor(server: Server, to: URL) {
    this.#server = server;
    this.#to = peerOf(to);
  }

  static async start(to: URL): Promise<Cable> {
    const server = createServer();
    const cable = new Cable(server, to);
    server.on('connection', near => cable.#forward(near, connect(cable.#to)));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return cable;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** New connections go there. */
  redirect(to: URL): void {
    this.#to = peerOf(to);
  }

  /** From now on nothing comes through the connections that are open, not even that they are closed; new ones work. */
  freeze(): void {
    for (const socket of this.#sockets) {
      socket.pause();
      this.#frozen.add(socket);
    }
  }

  /** Closes the connections that are open; new ones work. */
  cut(): void {
    this.#frozen.clear();
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise(resolve => this.#server.close(resolve));
  }

  #forward(near: Socket, far: Socket): void {
    this.connections++;
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from);
      if (from === near) near.on('data', data => this.tap?.(data));
      from.on('data', this.#carrier(to));
      from.on('error', () => {});
      from.on('close', () => {
        this.#sockets.delete(from);
        if (!this.#frozen.delete(from)) to.destroy();
      });
    }
  }

  /** What is slow stays in its order, also when the latency changes. */
  #carrier(to: Socket): (data: Buffer) => void {
    let carried = Promise.resolve();
    let waiting = 0;
    return data => {
      if (this.latencyMs === 0 && waiting === 0) {
        to.write(data);
        return;
      }
      waiting++;
      const arrival = Promise.all([carried, delay(this.latencyMs)]);
      carried = arrival.then(() => {
        waiting--;
        to.write(data);
      });
    };
  }
}

type Peer = { host: string; port: number };

function peerOf({ hostname, port }: URL): Peer {
  return { host: hostname, port: Number(port) };
}
