import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type ChannelCredentials, credentials, Metadata } from '@grpc/grpc-js';

/** Files with what a client proves and whom it trusts. */
export type ProofFiles = {
  /** Authorities of the service's certificate (PEM); else those of the system. */
  ca?: string | undefined;
  /** The client's certificate and its key (PEM), both or none. */
  cert?: string | undefined;
  key?: string | undefined;
  /** A bearer token. It is read for every call, so that whoever renews it only has to write it there. */
  token?: string | undefined;
};

/** With any of the files the connection is TLS, so no token is ever sent in the clear. Throws when one cannot be read. */
export function clientCredentials({ ca, cert, key, token }: ProofFiles): ChannelCredentials {
  if (!ca && !cert && !key && !token) return credentials.createInsecure();
  const read = (path: string | undefined) => (path ? readFileSync(path) : null);
  const tls = credentials.createSsl(read(ca), read(key), read(cert));
  if (!token) return tls;
  read(token);
  const bearer = credentials.createFromMetadataGenerator((_, done) => {
    readFile(token, 'utf8').then(text => done(null, authorization(text.trim())), done);
  });
  return credentials.combineChannelCredentials(tls, bearer);
}

function authorization(token: string): Metadata {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}
