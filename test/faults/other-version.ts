import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MIGRATIONS } from '../../src/db/orm.ts';
import { repository } from '../support/process.ts';

/** The sources of another version of the service in a folder of their own. */
export type OtherVersion = Disposable & { readonly sources: string; readonly commit?: string };

/** The version before the newest migration, out of the history; undefined where that is not there. */
export async function versionBefore(): Promise<OtherVersion | undefined> {
  const newest = (await readdir(MIGRATIONS))
    .filter(file => file.endsWith('.ts'))
    .toSorted()
    .at(-1)!;
  const git = (...args: string[]) => spawnSync('git', args, { cwd: repository, encoding: 'utf8' });
  const added = git('log', '--diff-filter=A', '--format=%H', '--', join('src/db/migrations', newest)).stdout?.trim();
  const commit = added && git('rev-parse', '--verify', `${added}^`).stdout.trim();
  if (!commit) return undefined;
  const version = { ...emptyFolder(), commit };
  const archive = execFileSync('git', ['archive', commit, 'src', 'package.json'], {
    cwd: repository,
    maxBuffer: 2 ** 28,
  });
  execFileSync('tar', ['-x', '-C', version.sources], { input: archive });
  return version;
}

/** This version with one more migration, which runs these statements. */
export function versionWith(statements: string[]): OtherVersion {
  const version = emptyFolder();
  for (const path of ['src', 'package.json'])
    cpSync(join(repository, path), join(version.sources, path), { recursive: true });
  const sql = statements.map(statement => `this.addSql(${JSON.stringify(statement)});`).join('\n');
  writeFileSync(
    join(version.sources, 'src/db/migrations/Migration29990101000000.ts'),
    `import { Migration } from '@mikro-orm/migrations';
export class Migration29990101000000 extends Migration {
  override name = 'Migration29990101000000';
  override up() { ${sql} }
}`,
  );
  return version;
}

function emptyFolder(): OtherVersion {
  const sources = mkdtempSync(join(tmpdir(), 'backup-management-version-'));
  symlinkSync(join(repository, 'node_modules'), join(sources, 'node_modules'));
  return { sources, [Symbol.dispose]: () => rmSync(sources, { recursive: true, force: true }) };
}
