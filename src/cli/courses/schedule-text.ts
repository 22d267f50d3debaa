import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Schedule, ScheduleSchema } from '../../gen/backup/v1/schedule_pb.ts';
import { Failure } from '../failure.ts';
import { printable } from '../terminal/text.ts';

/** From `0111110 02:30 Europe/Berlin`. */
export function weekly(given: string): MessageInitShape<typeof ScheduleSchema> {
  const [, weekdays, hour, minute, timeZone] = /^\s*([01]{7})\s+(\d{1,2}):(\d\d)\s+(\S+)\s*$/.exec(given) ?? [];
  if (!weekdays)
    throw new Failure('WRONG_USE', '--weekly must be like "0111110 02:30 Europe/Berlin", the first day being Sunday');
  return {
    timeZone: timeZone!,
    rule: { case: 'weekly', value: { weekdays, hour: Number(hour), minute: Number(minute) } },
  };
}

/** From `30 2 * * 1-5 Europe/Berlin`. */
export function cron(given: string): MessageInitShape<typeof ScheduleSchema> {
  const words = given.trim().split(/\s+/);
  if (words.length !== 6)
    throw new Failure('WRONG_USE', '--cron must be five fields and a zone, like "30 2 * * 1-5 Europe/Berlin"');
  return { timeZone: words[5]!, rule: { case: 'cron', value: words.slice(0, 5).join(' ') } };
}

/** As `weekly` and `cron` read it. */
export function scheduleText(schedule: Schedule | undefined): string {
  if (!schedule) return "the service's";
  const { timeZone, rule } = schedule;
  if (rule.case !== 'weekly') return printable(`cron ${rule.value} ${timeZone}`);
  const { weekdays, hour, minute } = rule.value;
  return printable(`${weekdays} ${String(hour).padStart(2, '0')}:${String(minute).padStart(2, '0')} ${timeZone}`);
}
