import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type ChannelCredentials, credentials, Metadata } from '@grpc/grpc-js';

/** What a client proves and whom it trusts. Certificates and keys are PEM, or names of files with it. */
export type Proof = {
  /** Authorities of the service's certificate; else those of the system. */
  ca?: string | undefined;
  /** The client's certificate and its key, both or none. */
  cert?: string | undefined;
  key?: string | undefined;
  /** A bearer token: the name of a file, or a function. It is asked for at every call, so whoever renews it only has to do it there. */
  token?: string | (() => string | Promise<string>) | undefined;
};

/** With any of these, or with `tls`, the connection is TLS, so no token is ever sent in the clear. Throws when a file cannot be read. */
export function clientCredentials({ ca, cert, key, token }: Proof, tls = false): ChannelCredentials {
  if (!tls && !ca && !cert && !key && !token) return credentials.createInsecure();
  const secured = credentials.createSsl(pem(ca), pem(key), pem(cert));
  if (!token) return secured;
  if (typeof token === 'string') readFileSync(token);
  const ask = typeof token === 'string' ? () => readFile(token, 'utf8') : async () => token();
  const bearer = credentials.createFromMetadataGenerator((_, done) => {
    ask().then(text => done(null, authorization(text.trim())), done);
  });
  return credentials.combineChannelCredentials(secured, bearer);
}

function pem(given: string | undefined): Buffer | null {
  if (!given) return null;
  return given.includes('-----BEGIN') ? Buffer.from(given) : readFileSync(given);
}

function authorization(token: string): Metadata {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}
