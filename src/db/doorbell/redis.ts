import { randomBytes } from 'node:crypto';
import { createClient } from '@redis/client';
import type { Transport } from './connection.ts';

/** Publish and subscribe, of Redis 6 or later: its protocol 3 lets one connection do both. */
export const redis: Transport = ({ url, channel, timeoutMs, heard, broken }) => {
  const client = createClient({
    url,
    RESP: 3,
    socket: { connectTimeout: timeoutMs, reconnectStrategy: false },
    disableOfflineQueue: true,
    maintNotifications: 'disabled',
  });
  client.on('error', broken);
  client.on('end', () => broken(new Error('the connection has ended')));
  // Redis sends to whoever listens, the sender included.
  const sender = randomBytes(6).toString('hex');
  let alwaysOthers = false;
  return {
    async listen() {
      await client.connect();
      // Of a cluster's listeners only those on the same node are counted.
      alwaysOthers = (await client.hello(3)).mode === 'cluster';
      await client.subscribe(channel, message => {
        const [from, payload] = split(message);
        if (from !== sender) heard(payload);
      });
    },
    async send(payloads) {
      await Promise.all(payloads.map(payload => client.publish(channel, `${sender} ${payload}`)));
    },
    async othersListen() {
      const { [channel]: listeners } = await client.pubSubNumSub(channel);
      return alwaysOthers || listeners !== 1;
    },
    close() {
      if (client.isOpen) client.destroy();
    },
  };
};

function split(message: string): [from: string, payload: string] {
  const end = message.indexOf(' ');
  return [message.slice(0, end), message.slice(end + 1)];
}
