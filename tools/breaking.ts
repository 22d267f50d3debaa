// Refuses changes of proto/ that would break clients of what has landed.
//
//   node tools/breaking.ts                  compares proto/ with what has landed
//   node tools/breaking.ts --land           does so, and then makes proto/ what has landed
//   node tools/breaking.ts --land --force   does so even where clients break
//
// What has landed is an image: buf cannot build a commit, where the imports from .protodeps and node_modules are missing.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const root = join(import.meta.dirname, '..');
const landed = 'proto/landed.binpb';
const { land = false, force = false } = parseArgs({
  options: { land: { type: 'boolean' }, force: { type: 'boolean' } },
}).values;

const compatible = check();
const done = land && (compatible || force) ? write() : compatible;
process.exitCode = done ? 0 : 1;

function check(): boolean {
  if (existsSync(join(root, landed))) return buf('breaking', 'proto', '--against', landed, '--exclude-imports');
  if (!land) console.error(`${landed} is missing: --land writes the first one`);
  return land;
}

function write(): boolean {
  return buf('build', 'proto', '--exclude-source-info', '-o', landed);
}

function buf(...args: string[]): boolean {
  return spawnSync(join(root, 'node_modules/.bin/buf'), args, { cwd: root, stdio: 'inherit' }).status === 0;
}
