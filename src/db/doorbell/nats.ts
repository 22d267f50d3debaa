import { connect as dial } from 'node:net';
import { connect, createInbox, type NatsConnection } from '@nats-io/transport-node';
import type { Transport } from './connection.ts';

/** Core NATS: nothing is kept, and nobody but who listens at the time hears it. */
export const nats: Transport = ({ url, channel, timeoutMs, heard, broken }) => {
  const { protocol, hostname, port, username, password } = new URL(url);
  const server = `${hostname}:${port || 4222}`;
  // Below the channel, so that who may publish and subscribe to it and what is below it may all that is asked for here.
  const inbox = createInbox(`${channel}.inbox`);
  const closing = new AbortController();
  let connecting: Promise<NatsConnection> | undefined;
  let connection: NatsConnection;
  let refused = false;
  return {
    async listen() {
      await greeted(server, AbortSignal.any([closing.signal, AbortSignal.timeout(timeoutMs)]));
      connecting = connect({
        servers: server,
        ...credentials(decodeURIComponent(username), decodeURIComponent(password)),
        ...(protocol === 'tls:' && { tls: {} }),
        timeout: timeoutMs,
        reconnect: false,
        noEcho: true,
      });
      connection = await connecting;
      void connection.closed().then(error => broken(error ?? new Error('the connection has ended')));
      void breakOnErrors(connection, broken);
      connection.subscribe(channel, {
        callback: (_, message) => {
          // Empty ones only ask whether anybody listens.
          if (message?.data.length) heard(message.string());
        },
      });
      connection.subscribe(inbox, {
        callback: () => {
          refused = true;
        },
      });
      await connection.flush();
    },
    async send(payloads) {
      for (const payload of payloads) connection.publish(channel, payload);
      await connection.flush();
    },
    async othersListen() {
      refused = false;
      // What nobody but the sender listens to comes back as refused, and before the answer to what was sent later.
      connection.publish(channel, '', { reply: inbox });
      await connection.flush();
      return !refused;
    },
    close() {
      closing.abort();
      void connecting?.then(
        connection => connection.close(),
        () => {},
      );
    },
  };
};

/** A user and his password, or a token alone. */
function credentials(user: string, pass: string): { user?: string; pass?: string; token?: string } {
  if (user && pass) return { user, pass };
  return user ? { token: user } : {};
}

/** What is refused is told aside, and not to who asked for it. */
async function breakOnErrors(connection: NatsConnection, broken: (error: Error) => void): Promise<void> {
  for await (const status of connection.status()) if (status.type === 'error') broken(status.error);
}

/**
 * Resolves when a server has said the first word, as those of NATS do. The client leaves its socket open when it gives up waiting for that, and a
 * replica would not end any more.
 */
async function greeted(server: string, signal: AbortSignal): Promise<void> {
  const { hostname, port } = new URL(`tcp://${server}`);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = dial({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port), signal });
  socket.on('data', () => resolve());
  socket.on('error', error => reject(signal.aborted ? new Error(`${server} does not answer`) : error));
  socket.on('close', () => reject(new Error(`${server} has closed the connection`)));
  await promise.finally(() => socket.destroy());
}
