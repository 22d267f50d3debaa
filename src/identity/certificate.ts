import type { PeerCertificate } from 'node:tls';
import { SCOPES } from './scope.ts';

/**
 * The name of a certificate: of its alternative names the first URI, else the first host, else the first e-mail address; else its common name.
 * Undefined when it has none of these.
 */
export function certificateName({ subject, subjectaltname = '' }: PeerCertificate): string | undefined {
  // Node quotes a value that could be taken for several; those are names of nobody.
  const alternatives = subjectaltname.includes('"') ? [] : subjectaltname.split(', ');
  for (const kind of ['URI:', 'DNS:', 'email:']) {
    const found = alternatives.find(name => name.startsWith(kind))?.slice(kind.length);
    if (found) return found;
  }
  // Several common names are a list here.
  return typeof subject?.CN === 'string' && subject.CN !== '' ? subject.CN : undefined;
}

/** What the owners of certificates may do; whoever is not named nothing. */
export type CertificateScopes = ReadonlyMap<string, ReadonlySet<string>>;

/** From `name=scope+scope, name=scope`. Throws what is wrong. */
export function parseCertificateScopes(text: string): CertificateScopes {
  const owners = new Map<string, ReadonlySet<string>>();
  for (const part of text.split(',')) {
    const [, name, list] = /^\s*(\S+)=([a-z]+(?:\+[a-z]+)*)\s*$/.exec(part) ?? [];
    if (!name || !list) throw new Error(`must be name=scope+scope, name=scope and so on, not "${part.trim()}"`);
    const scopes = list.split('+');
    const unknown = scopes.find(scope => !SCOPES.has(scope));
    if (unknown) throw new Error(`there is no scope ${unknown}, only ${[...SCOPES].join(', ')}`);
    if (owners.has(name)) throw new Error(`${name} is there twice`);
    owners.set(name, new Set(scopes));
  }
  return owners;
}
