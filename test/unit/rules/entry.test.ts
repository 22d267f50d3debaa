import { file_backup_v1_entry, LogLevel, NewLogEntrySchema } from '../../../src/gen/backup/v1/entry_pb.ts';
import { describeRules, table } from '../../support/rules.ts';
import { time } from './edges.ts';

describeRules(file_backup_v1_entry, [
  table(
    NewLogEntrySchema,
    { level: LogLevel.INFO },
    {
      level: { accepts: [20, 30, 40, 50], refuses: { level: [0, 10, 15, 60, -20, 2 ** 31 - 1] } },
      message: {
        accepts: ['', '\u0001\n\t', 'ä😀', 'x'.repeat(1_048_576)],
        refuses: { message: ['\0', 'a\0', '\0a', `${'x'.repeat(100_000)}\0`] },
      },
      createTime: time('create_time', 0n),
    },
  ),
]);
