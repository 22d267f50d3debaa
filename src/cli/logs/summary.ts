import { LogLevelSchema } from '../../gen/backup/v1/entry_pb.ts';
import { LogService, SummarizeLogsResponseSchema } from '../../gen/backup/v1/log_pb.ts';
import type { Filter } from '../filter.ts';
import { nameOf } from '../names.ts';
import type { Session } from '../session.ts';
import { table } from '../terminal/table.ts';
import { INKS } from './line.ts';
import { logsOf } from './list.ts';

type Options = Filter & { since?: Date; until?: Date };

export async function summarizeLogs(session: Session, options: Options, backupId: string | undefined): Promise<void> {
  const { screen } = session;
  const summary = await session.client(LogService).summarizeLogs(logsOf(backupId, options), session.call());
  await screen.show(SummarizeLogsResponseSchema, summary, () => {
    const rows = summary.levels.map(({ level, count }) => [
      count > 0n ? screen.paint(INKS[level] ?? [], nameOf(LogLevelSchema, level)) : nameOf(LogLevelSchema, level),
      String(count),
    ]);
    const counts = table(
      [{ title: 'LEVEL' }, { title: 'ENTRIES', right: true }],
      [...rows, ['all', String(summary.total)]],
    );
    const when =
      summary.total > 0n ? `, from ${screen.time(summary.firstTime)} to ${screen.time(summary.lastTime)}` : '';
    return `${counts}\n\nin ${summary.logs} ${summary.logs === 1n ? 'log' : 'logs'}${when}`;
  });
}
