import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { ServerCredentials } from '@grpc/grpc-js';
import { periodic } from '../periodic.ts';

/** Files in PEM. */
export type TlsFiles = {
  /** The certificate, and those between it and its authority. */
  cert: string;
  key: string;
  /** Authorities of client certificates; with them every client needs one. */
  clientCa?: string | undefined;
};

/** Where to tell an operator what happens. */
export type Say = { info(message: string): void; warn(message: string): void };

/** TLS with what the files have by now. Connections that are open live on with what they had. */
export type Tls = AsyncDisposable & { readonly credentials: ServerCredentials };

/**
 * Looks at the files at every interval, by their content: they may be links that are moved, on whatever file system. What cannot serve, also because
 * only one of two files has been replaced yet, changes nothing and is said once. At the start it is thrown.
 */
export async function openTls(files: TlsFiles, { lookMs, say }: { lookMs: number; say: Say }): Promise<Tls> {
  let pem = await read(files);
  warnOfExpiry(pem, say);
  const credentials = new ChangingCredentials(pem);
  let complaint = '';
  const looking = periodic(lookMs, async () => {
    try {
      const found = await read(files);
      if (!same(found, pem)) {
        credentials.change(found);
        pem = found;
        say.info(`${files.cert} is served from now on, valid until ${expiryOf(pem)}`);
        warnOfExpiry(pem, say);
      }
      complaint = '';
    } catch (error) {
      const { message } = error as Error;
      if (message !== complaint) say.warn(`what was there before is served on: ${message}`);
      complaint = message;
    }
  });
  return { credentials, [Symbol.asyncDispose]: () => looking[Symbol.asyncDispose]() };
}

type Pem = { cert: Buffer; key: Buffer; ca: Buffer | undefined };

/** grpc-js' own provider of certificates swallows what is wrong with files, and with a broken pair lets nobody in. */
class ChangingCredentials extends ServerCredentials {
  constructor(pem: Pem) {
    const asks = pem.ca !== undefined;
    super({ requestCert: asks, rejectUnauthorized: asks, handshakeTimeout: HANDSHAKE_MS }, contextOf(pem));
  }

  change(pem: Pem): void {
    this.updateSecureContextOptions(contextOf(pem));
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

const HANDSHAKE_MS = 10_000;

function contextOf({ cert, key, ca }: Pem): SecureContextOptions {
  return { cert, key, ...(ca && { ca }), minVersion: 'TLSv1.2' };
}

/** Throws what is wrong with the files: unreadable, not PEM, a key of another certificate, no authority. */
async function read(files: TlsFiles): Promise<Pem> {
  const [cert, key, ca] = await Promise.all(
    [files.cert, files.key, files.clientCa].map(path => path && readFile(path)),
  );
  const pem = { cert: cert as Buffer, key: key as Buffer, ca: ca as Buffer | undefined };
  try {
    createSecureContext(contextOf(pem));
  } catch (error) {
    throw new Error(`${files.cert} and ${files.key} cannot serve: ${(error as Error).message}`);
  }
  try {
    // Without one Node would take those of the web.
    if (pem.ca) new X509Certificate(pem.ca);
  } catch (error) {
    throw new Error(`${files.clientCa} has no certificate: ${(error as Error).message}`);
  }
  return pem;
}

function same(one: Pem, other: Pem): boolean {
  return (['cert', 'key', 'ca'] as const).every(part => one[part] === other[part] || one[part]?.equals(other[part]!));
}

function expiryOf({ cert }: Pem): string {
  return new X509Certificate(cert).validToDate.toISOString();
}

function warnOfExpiry(pem: Pem, say: Say): void {
  const expiry = expiryOf(pem);
  if (Date.parse(expiry) < Date.now()) say.warn(`the certificate has expired at ${expiry}`);
}
