import { createInterface } from 'node:readline/promises';
import { Failure } from '../failure.ts';

/** Asks the user, on standard error: standard output has the result. Whoever is no terminal cannot be asked, and nothing else means yes. */
export async function confirm(question: string, signal: AbortSignal): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new Failure(
      'WRONG_USE',
      'nobody can be asked here, and nothing was deleted',
      '--yes does it, --dry-run only says what would go',
    );
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  // readline takes Ctrl-C for itself.
  terminal.on('SIGINT', () => process.kill(process.pid, 'SIGINT'));
  try {
    return /^y(es)?$/i.test((await terminal.question(`${question} [y/N] `, { signal })).trim());
  } finally {
    terminal.close();
  }
}
