// What @peculiar/x509 wants to be there before it.
import 'reflect-metadata';
import type { webcrypto } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  BasicConstraintsExtension,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

/** A certificate and its key, in PEM. */
export type Pair = { cert: string; key: string };

export type Wish = {
  commonName?: string;
  /** Hosts, and URIs where they have a scheme; if absent, the certificate is for localhost. */
  names?: string[];
  from?: Date;
  until?: Date;
};

/** A certificate authority that a test makes. */
export class Authority {
  readonly pem: string;
  readonly #certificate: X509Certificate;
  readonly #keys: webcrypto.CryptoKeyPair;

  private constructor(certificate: X509Certificate, keys: webcrypto.CryptoKeyPair) {
    this.#certificate = certificate;
    this.#keys = keys;
    this.pem = certificate.toString('pem');
  }

  static async create(name = 'Test Authority'): Promise<Authority> {
    const keys = await crypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
    const certificate = await X509CertificateGenerator.createSelfSigned({
      ...between({}),
      name: `CN=${name}`,
      keys,
      signingAlgorithm: CURVE,
      extensions: [new BasicConstraintsExtension(true, undefined, true)],
    });
    return new Authority(certificate, keys);
  }

  async issue(wish: Wish = {}): Promise<Pair> {
    const keys = await crypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
    const names = (wish.names ?? ['localhost']).map(value => ({ type: kindOf(value), value }) as const);
    const certificate = await X509CertificateGenerator.create({
      ...between(wish),
      subject: wish.commonName ? `CN=${wish.commonName}` : '',
      issuer: this.#certificate.subject,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: CURVE,
      extensions: names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : [],
    });
    const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
    return {
      cert: certificate.toString('pem'),
      key: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`,
    };
  }
}

/** Files of a test, in a folder of their own that goes with it. */
export class Files implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'backup-management-files-'));

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Puts the new file into the place of the old one, as a program does that renews it. */
  async put(name: string, text: string): Promise<string> {
    await writeFile(this.path(`${name}.new`), text);
    await rename(this.path(`${name}.new`), this.path(name));
    return this.path(name);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const CURVE = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;

function between({ from = new Date(Date.now() - DAY_MS), until = new Date(Date.now() + DAY_MS) }: Wish) {
  return { notBefore: from, notAfter: until };
}

function kindOf(name: string): 'url' | 'email' | 'dns' {
  if (name.includes('://')) return 'url';
  return name.includes('@') ? 'email' : 'dns';
}
