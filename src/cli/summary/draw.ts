import type { CourseStatus } from '../../gen/backup/v1/course_pb.ts';
import { LogLevel, LogLevelSchema } from '../../gen/backup/v1/entry_pb.ts';
import { statusText } from '../courses/status.ts';
import { nameOf } from '../names.ts';
import type { Session } from '../session.ts';
import type { Ink } from '../terminal/paint.ts';
import { cut } from '../terminal/table.ts';
import { durationText, millisOf } from '../terminal/times.ts';
import type { Problem } from './attention.ts';
import type { Situation } from './situation.ts';

export function draw(situation: Situation, problems: Problem[], { settings, screen }: Session): string {
  const { controllers, courses, logs, ended, nowMs, windowMs } = situation;
  const { paint, width, time } = screen;
  const ago = (at: Parameters<typeof time>[0]) =>
    at ? `${time(at)}, ${durationText(Math.max(0, nowMs - millisOf(at)))} ago` : 'never';
  const window = `last ${durationText(windowMs)}`;
  const shown = (count: bigint | number, word: string, ink: Ink) =>
    paint(BigInt(count) === 0n ? 'dim' : ink, `${count} ${word}`);
  const { p50, p95, count: finished } = controllers.durations ?? {};
  const lines: [title: string, ...values: string[]][] = [
    [
      'queue',
      `${controllers.queueDepth} waiting`,
      ...(controllers.oldestDueTime ? [`oldest due ${ago(controllers.oldestDueTime)}`] : []),
    ],
    [
      'running',
      `${controllers.running} running`,
      `${controllers.leased} held by a worker`,
      shown(controllers.expiredLeases, 'with a lease that has ended', 'red'),
    ],
    [
      `ended, ${window}`,
      paint('green', `${finished ?? 0n} well`),
      shown(ended.failed, 'failed', 'red'),
      shown(ended.lost, 'lost', 'red'),
      shown(ended.cancelled, 'cancelled', 'yellow') + (ended.more ? ' (of more than 1000)' : ''),
    ],
    [
      'durations',
      ...(p50 && p95
        ? [`half within ${durationText(millisOf(p50))}`, `95% within ${durationText(millisOf(p95))}`]
        : ['-']),
    ],
    ['last success', ago(controllers.lastSuccessTime)],
    [
      'courses',
      `${courses.total}`,
      ...courses.statuses
        .filter(({ count }) => count > 0n)
        .map(({ status, count }) => `${count} ${statusText(status as CourseStatus, paint)}`),
    ],
    ['due', `${courses.due}`, ...(courses.oldestDueTime ? [`oldest since ${ago(courses.oldestDueTime)}`] : [])],
    ['last course', ago(courses.lastSuccessTime)],
    [
      `log, ${window}`,
      ...logs.levels.map(({ level, count }) =>
        shown(count, nameOf(LogLevelSchema, level), LEVEL_INKS[level] ?? 'bold'),
      ),
    ],
  ];
  const room = Math.max(...lines.map(([title]) => title.length));
  const body = lines.map(([title, ...values]) => `${paint('bold', title.padEnd(room))}  ${values.join(', ')}`);
  return [
    `Backup Management at ${settings.address[0]}, ${screen.now()}`,
    '',
    ...attentionLines(problems, paint),
    '',
    ...body,
  ]
    .map(line => cut(line, width))
    .join('\n');
}

const LEVEL_INKS: Partial<Record<LogLevel, Ink>> = {
  [LogLevel.ERROR]: 'red',
  [LogLevel.WARNING]: 'yellow',
  [LogLevel.INFO]: 'green',
  [LogLevel.DEBUG]: 'dim',
};

function attentionLines(problems: Problem[], paint: Session['screen']['paint']): string[] {
  if (problems.length === 0) return [paint('green', 'nothing needs attention')];
  return problems.map(
    ({ ink, text, hint }) => `${paint(['bold', ink], '!')} ${paint(ink, text)} ${paint('dim', `(${hint})`)}`,
  );
}
