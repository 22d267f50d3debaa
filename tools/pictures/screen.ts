import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import headless from '@xterm/headless';

const root = join(import.meta.dirname, '../..');

export const COLUMNS = 112;

/**
 * What somebody sees on a terminal who enters `npm run cli -- ...`: as soon as `enough` of it is there, or, without that, at its end. The program is
 * then interrupted, as by Ctrl-C. Needs `script` of util-linux.
 */
export async function photograph(
  args: string[],
  address: string,
  enough?: (text: string) => boolean,
  rows = 30,
): Promise<string> {
  const screen = new headless.Terminal({ cols: COLUMNS, rows, allowProposedApi: true });
  const command = ['node', 'src/cli/main.ts', ...args].map(quoted).join(' ');
  const child = spawn('script', ['-qfec', `stty cols ${COLUMNS} rows ${rows}; exec ${command}`, '/dev/null'], {
    cwd: root,
    env: { ...process.env, BACKUPCTL_ADDRESS: address, TERM: 'xterm', TZ: 'Europe/Berlin', HOME: '/nonexistent' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'close');
  child.stdout.on('data', data => screen.write(data));
  let text = '';
  if (enough) {
    const end = Date.now() + 30_000;
    while (!enough(text)) {
      if (Date.now() > end) throw new Error(`backupctl ${args.join(' ')} does not show it: ${text}`);
      await delay(50);
      text = await textOf(screen);
    }
    child.stdin.write('\x03');
    await exited;
  } else {
    await exited;
    text = await textOf(screen);
  }
  return `$ npm run cli -- ${args.map(quoted).join(' ')}\n${text}\n`;
}

/** What stands there once all that came is drawn, without the colours. */
async function textOf(screen: InstanceType<typeof headless.Terminal>): Promise<string> {
  await new Promise<void>(resolve => screen.write('', resolve));
  const { active } = screen.buffer;
  const rows = Array.from({ length: screen.rows }, (_, row) => active.getLine(active.baseY + row));
  const lines = rows.map(row => row?.translateToString(true).trimEnd() ?? '');
  return lines.join('\n').trim();
}

function quoted(word: string): string {
  return /^[\w./:=,-]+$/.test(word) ? word : `'${word}'`;
}
