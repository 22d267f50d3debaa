import { EXIT } from '../failure.ts';
import type { Session } from '../session.ts';
import { cut } from '../terminal/table.ts';
import type { Check } from './check.ts';
import { compare } from './compare.ts';
import { examine, type Replica } from './examine.ts';

export async function doctor(session: Session): Promise<void> {
  const { settings, screen } = session;
  const replicas: Replica[] = await Promise.all(settings.address.map(address => examine(session, address)));
  const together = compare(replicas);
  const document = {
    replicas: replicas.map(({ address, checks }) => ({ address, checks })),
    together,
  };
  await screen.tell(document, () => draw(replicas, together, session));
  const all = [...replicas.flatMap(({ checks }) => checks), ...together];
  if (all.some(({ state }) => state === 'bad')) process.exitCode = EXIT.FAILED;
}

function draw(replicas: Replica[], together: Check[], { screen }: Session): string {
  const { paint, width } = screen;
  const parts = replicas.map(({ address, checks }) => [paint('bold', address), ...checks.flatMap(lines)]);
  if (together.length > 0) parts.push([paint('bold', 'together'), ...together.flatMap(lines)]);
  const all = [...replicas.flatMap(({ checks }) => checks), ...together];
  const count = (state: Check['state']) => all.filter(check => check.state === state).length;
  const [bad, warnings] = [count('bad'), count('warning')];
  const verdict =
    bad > 0
      ? paint('red', `${bad} to be mended, ${warnings} could be better`)
      : paint(warnings > 0 ? 'yellow' : 'green', warnings > 0 ? `well, ${warnings} could be better` : 'all is well');
  return [...parts.map(part => part.join('\n')), verdict].join('\n\n');

  function lines({ name, state, text, hint }: Check): string[] {
    const [mark, ink] = MARKS[state];
    const line = cut(`  ${paint(ink, mark)} ${name.padEnd(11)} ${text}`, width);
    return hint ? [line, `  ${' '.repeat(mark.length)} ${' '.repeat(11)} ${paint('dim', `-> ${hint}`)}`] : [line];
  }
}

const MARKS = {
  ok: ['ok  ', 'green'],
  warning: ['warn', 'yellow'],
  bad: ['BAD ', 'red'],
  skipped: ['-   ', 'dim'],
} as const;
