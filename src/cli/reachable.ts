import { connect } from 'node:net';

/** The first of these addresses where something listens, or else the first one, which then says what is wrong. */
export async function firstReachable(addresses: string[]): Promise<string> {
  if (addresses.length > 1) for (const address of addresses) if (await listens(address)) return address;
  return addresses[0]!;
}

function listens(address: string): Promise<boolean> {
  const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(address)!;
  return new Promise(resolve => {
    const socket = connect({ host: host!, port: Number(port), timeout: PATIENCE_MS });
    const settle = (there: boolean) => {
      socket.destroy();
      resolve(there);
    };
    socket.on('connect', () => settle(true));
    socket.on('timeout', () => settle(false));
    socket.on('error', () => settle(false));
  });
}

const PATIENCE_MS = 2000;
