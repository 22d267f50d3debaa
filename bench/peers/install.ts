import { execFileSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** The peers that come from npm, when they are first needed or others are wanted than before. */
export function installPeers(): void {
  const folder = import.meta.dirname;
  const [wanted, installed] = ['package-lock.json', 'node_modules/.package-lock.json'].map(name => join(folder, name));
  if (existsSync(installed!) && statSync(installed!).mtimeMs >= statSync(wanted!).mtimeMs) return;
  execFileSync('npm', ['ci', '--ignore-scripts'], { cwd: folder, stdio: 'inherit' });
}
