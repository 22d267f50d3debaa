// Takes the pictures of docs/pictures: what a real terminal shows of a real service, and puts them where pages have a place for them.
//
//   node tools/pictures.ts
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '../src/client/main.ts';
import { past, plan, present } from './pictures/night.ts';
import { photograph } from './pictures/screen.ts';

const root = join(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'backup-management-pictures-'));
const LISTEN = '127.0.0.1:50051';

const pictures = await withService(async address => {
  using service = connect(address);
  await plan(service);
  await past(service);
  const stop = new AbortController();
  const tailing = photograph(['logs', 'tail', '--purpose', 'automated'], address, hasTrouble, 21);
  const watching = photograph(['controllers', 'watch', '--purpose', 'automated'], address, inTheMiddle);
  const working = present(service, stop.signal);
  const tail = await tailing;
  const watch = await watching;
  const report = await photograph(['courses', 'report'], address);
  const summary = await photograph(['summary'], address);
  stop.abort();
  await working;
  return { tail, watch, report, summary };
});
mkdirSync(join(root, 'docs/pictures'), { recursive: true });
for (const [name, text] of Object.entries(pictures)) writeFileSync(join(root, `docs/pictures/${name}.txt`), text);
for (const page of globSync(['README.md', 'docs/*.md'], { cwd: root })) {
  const before = readFileSync(join(root, page), 'utf8');
  const after = before.replace(/(<!-- picture: (\w+) -->\n```text\n)[\s\S]*?(```\n)/g, (all, head, name, tail) =>
    name in pictures ? `${head}${pictures[name as keyof typeof pictures]}${tail}` : all,
  );
  if (after !== before) writeFileSync(join(root, page), after);
}

/** A screen of lines, some of which somebody should look at. */
function hasTrouble(text: string): boolean {
  return text.split('\n').length > 16 && /ERROR/.test(text) && /WARN/.test(text);
}

/** Bars of three runs, none of them near its beginning or its end. */
function inTheMiddle(text: string): boolean {
  const shares = [...text.matchAll(/(\d+) ?%/g)].map(([, share]) => Number(share));
  return shares.filter(share => share > 45 && share < 95).length >= 3;
}

async function withService<T>(use: (address: string) => Promise<T>): Promise<T> {
  const env = { ...process.env, LISTEN, DATA_DIR: join(folder, 'data'), SERVICE_LOG: 'error' };
  const service = spawn('node', ['src/main.ts'], { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    for await (const line of service.stdout.setEncoding('utf8')) if (line.includes('serves gRPC')) break;
    return await use(LISTEN);
  } finally {
    service.kill('SIGTERM');
    if (service.exitCode === null) await once(service, 'exit');
    rmSync(folder, { recursive: true, force: true });
  }
}
