import {
  file_backup_v1_schedule,
  NextStartSchema,
  ScheduleSchema,
  WeeklySchema,
} from '../../../src/gen/backup/v1/schedule_pb.ts';
import { describeRules, table } from '../../support/rules.ts';
import { badNanos, time } from './edges.ts';

const weekly = { weekdays: '1111111', hour: 2, minute: 30 };
const schedule = { timeZone: 'Europe/Berlin', rule: { case: 'weekly', value: weekly } } as const;
const cron = (value: string) => ({ case: 'cron', value });
const upTo = (path: string, most: number) => ({
  accepts: [0, 1, most],
  refuses: { [path]: [-1, most + 1, -(2 ** 31), 2 ** 31 - 1] },
});

describeRules(file_backup_v1_schedule, [
  table(WeeklySchema, weekly, {
    weekdays: {
      accepts: ['0000000', '1111111', '0100000'],
      refuses: { weekdays: ['', '111111', '11111111', '111111x', '1111111\n', '1'.repeat(1_000_000)] },
    },
    hour: upTo('hour', 23),
    minute: upTo('minute', 59),
  }),
  table(ScheduleSchema, schedule, {
    timeZone: {
      accepts: ['U', 'x'.repeat(64)],
      refuses: { time_zone: ['', 'x'.repeat(65), 'ä'.repeat(33), 'x'.repeat(1_000_000)] },
    },
    rule: {
      accepts: [cron('* * * * *'), cron('x'.repeat(200))],
      refuses: {
        rule: [{ case: undefined }],
        cron: [cron('* * * * '), cron('x'.repeat(201)), cron('ä'.repeat(101))],
      },
    },
  }),
  table(NextStartSchema, { next: { case: 'schedule', value: schedule } } as const, {
    next: {
      accepts: time('', 1n).accepts.map(value => ({ case: 'time', value })),
      refuses: {
        next: [{ case: undefined }],
        time: [{ seconds: 0n }, { seconds: 253_402_300_800n }, ...badNanos(5n)].map(value => ({
          case: 'time',
          value,
        })),
      },
    },
  }),
]);
