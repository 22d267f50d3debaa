// Writes docs/reference from what the service says of itself: proto/, the settings, the metrics and the commands.
//
//   node tools/reference.ts           writes it
//   node tools/reference.ts --check   fails when it is not current
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { reference } from './reference/pages.ts';

const { check = false } = parseArgs({ options: { check: { type: 'boolean' } } }).values;
const folder = join(import.meta.dirname, '../docs/reference');

const written = new Map(
  globSync('*.md', { cwd: folder }).map(name => [name, readFileSync(join(folder, name), 'utf8')]),
);
const current = await reference();
const stale = [...new Set([...written.keys(), ...current.keys()])].filter(
  name => written.get(name) !== current.get(name),
);
if (check) complain();
else mend();

function complain(): void {
  for (const name of stale) console.error(`docs/reference/${name} is not current: npm run reference`);
  process.exitCode = stale.length > 0 ? 1 : 0;
}

function mend(): void {
  mkdirSync(folder, { recursive: true });
  for (const name of stale) {
    const text = current.get(name);
    if (text === undefined) rmSync(join(folder, name));
    else writeFileSync(join(folder, name), text);
    console.log(`${text === undefined ? 'removed' : 'wrote'} docs/reference/${name}`);
  }
}
