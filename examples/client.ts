import { type Connection, connect as connectTo } from '../src/client/main.ts';

/**
 * A connection as the environment says: CLIENT_TLS_CA, CLIENT_TLS_CERT, CLIENT_TLS_KEY and CLIENT_TOKEN_FILE name files for a service that wants TLS, a
 * certificate or a token.
 */
export function connect(address: string, env = process.env): Connection {
  const { CLIENT_TLS_CA: ca, CLIENT_TLS_CERT: cert, CLIENT_TLS_KEY: key, CLIENT_TOKEN_FILE: tokenFile } = env;
  const tls = ca || cert || key ? { ca, cert, key } : false;
  return connectTo({ address, tls, tokenFile });
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
