import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, matchesGlob } from 'node:path';
import { repository } from '../support/process.ts';

const kinds = ['dependencies', 'devDependencies', 'optionalDependencies'] as const;
type Manifest = { [K in (typeof kinds)[number]]: Record<string, string> };
type Locked = {
  version: string;
  resolved?: string;
  integrity?: string;
  license?: string;
  dev?: boolean;
  link?: boolean;
};

const manifest: Manifest = JSON.parse(textOf('package.json'));
const lock: { packages: Record<string, Locked> } = JSON.parse(textOf('package-lock.json'));
const installed = Object.entries(lock.packages).filter(([path]) => path !== '');

const REGISTRY = 'https://registry.npmjs.org/';

/** What may be part of the service: none of them asks for more than to be named. */
const licences = [
  'MIT',
  'ISC',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  '(Apache-2.0 AND BSD-3-Clause)',
  'Unlicense',
];

describe('The supply chain', () => {
  it('asks for exact versions only, and has locked those', () => {
    const asked = kinds.flatMap(kind => Object.entries(manifest[kind]));
    assert.ok(asked.length > 20);
    for (const [name, version] of asked) {
      assert.match(version, /^\d+\.\d+\.\d+(-[\w.]+)?$/, name);
      assert.equal(lock.packages[`node_modules/${name}`]?.version, version, name);
    }
  });

  it('takes everything from the registry, with a checksum', () => {
    assert.ok(installed.length > 100);
    // Without an address it comes from the registry that npm is set to.
    const strange = installed.filter(
      ([, { resolved, integrity }]) =>
        !/^sha512-/.test(integrity ?? '') || !(resolved ?? REGISTRY).startsWith(REGISTRY),
    );
    assert.deepEqual(
      strange.map(([path]) => path),
      [],
    );
  });

  it('has no licence in what runs that asks for more than to be named', () => {
    const others = installed.filter(([, { dev, license }]) => !dev && !licences.includes(license ?? 'none'));
    assert.deepEqual(
      others.map(([path, { license }]) => `${path}: ${license}`),
      [],
    );
  });

  it('gives a reason for every dependency in CONTRIBUTING.md, and for no others', () => {
    const section = textOf('CONTRIBUTING.md')
      .split(/^## /m)
      .find(text => text.startsWith('Dependencies'))!;
    const reasons = section.split('\n').filter(line => line.startsWith('| `'));
    const named = reasons.flatMap(line => [...line.split('|')[1]!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!));
    const all = kinds.flatMap(kind => Object.keys(manifest[kind]));
    // Types go with what they are the types of.
    const wanting = all.filter(name => !name.startsWith('@types/') && !named.some(one => matchesGlob(name, one)));
    assert.deepEqual(wanting, []);
    assert.deepEqual(
      named.filter(one => !all.some(name => matchesGlob(name, one))),
      [],
    );
    for (const line of reasons) assert.match(line.split('|')[2]!, /\w{3}/);
  });
});

function textOf(path: string): string {
  return readFileSync(join(repository, path), 'utf8');
}
