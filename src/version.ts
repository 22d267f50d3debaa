import { existsSync, readFileSync } from 'node:fs';

/** Of the package that this file is in, wherever in it that is. */
export function version(): string {
  for (let at = new URL('./', import.meta.url); ; at = new URL('../', at)) {
    const path = new URL('package.json', at);
    if (existsSync(path)) return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
    if (at.pathname === '/') return 'unknown';
  }
}
