import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Results } from '../test/support/reporter.ts';

// Runs mocha with these arguments. Files that fail are run once more, one after another with nothing beside them: a machine that is shared
// with others does not always keep the times that a test is made for. What needed that is said, and what fails again has failed.

/** With more files than that, it is not the machine. */
const MOST = 12;

const results = run(process.argv.slice(2));
const failed = Object.keys(results).filter(file => results[file]!.failed.length > 0);
if (failed.length > 0 && failed.length <= MOST) {
  console.log(`\nOnce more, alone: ${failed.join(' ')}\n`);
  const alone = run(['--no-parallel', ...failed]);
  for (const file of failed) {
    const again = new Set(alone[file]?.failed);
    for (const title of results[file]!.failed) if (!again.has(title)) console.log(`PASSED ONLY ALONE: ${title}`);
  }
  Object.assign(results, alone);
}
const counts = Object.values(results).map(one => [one.passed, one.failed.length] as const);
const [passes, failures] = counts.reduce(([p, f], [passed, failed]) => [p + passed, f + failed], [0, 0]);
console.log(`Tests that passed: ${passes}, that failed: ${failures}`);
process.exitCode = failures > 0 ? 1 : 0;

function run(args: string[]): Results {
  const folder = mkdtempSync(join(tmpdir(), 'backup-management-results-'));
  try {
    const path = join(folder, 'results.json');
    const env = { ...process.env, TEST_RESULTS: path };
    const options = ['--reporter', 'test/support/reporter.ts'];
    const { status } = spawnSync('mocha', [...options, ...args], { env, stdio: 'inherit' });
    const found: Results = JSON.parse(readFileSync(path, 'utf8'));
    const all = Object.values(found);
    if (all.length === 0 || (status !== 0 && all.every(({ failed }) => failed.length === 0)))
      throw new Error(`mocha has ended with ${status}`);
    return found;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
