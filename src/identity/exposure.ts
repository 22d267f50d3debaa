import { BlockList, isIP } from 'node:net';

/** What keeps an address from being served on: settings that are missing where others than this machine can reach it. */
export function missingFor(listen: string, given: { tls: boolean; clientCa: boolean; tokens: boolean }): string[] {
  if (isLoopback(listen)) return [];
  return [
    ...(given.tls ? [] : ['TLS_CERT and TLS_KEY']),
    ...(given.tokens || given.clientCa ? [] : ['TOKEN_JWKS, TOKEN_ISSUER and TOKEN_AUDIENCE, or TLS_CLIENT_CA']),
  ];
}

/** Whether only this machine reaches an address of host and port. A name other than `localhost` may be anything. */
export function isLoopback(listen: string): boolean {
  const host = listen.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  if (host.toLowerCase() === 'localhost') return true;
  const family = isIP(host);
  return family !== 0 && loopback.check(host, family === 6 ? 'ipv6' : 'ipv4');
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');
