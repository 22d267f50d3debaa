import { LogLevel } from '../src/gen/backup/v1/entry_pb.ts';
import { LogService } from '../src/gen/backup/v1/log_pb.ts';
import { createClient } from '../src/grpc/client.ts';
import { claimAndFinish, concurrently, controllersOf } from './lease.ts';
import { LINE } from './raw-append.ts';

/** A run as docs/scaling.md reckons with it: so many reports of progress, each behind an append of so many entries. */
export const RUN = { reports: 20, each: 10 };

/** Works so many runs that are in the queue, 64 at a time. */
export function runs(channel: Parameters<typeof controllersOf>[0], count: number): Promise<void> {
  const [controllers, logs] = [controllersOf(channel), createClient(LogService, channel)];
  const entries = Array(RUN.each).fill({ level: LogLevel.INFO, message: LINE });
  return concurrently(64, count, () =>
    claimAndFinish(controllers, 'queue', async lease => {
      for (let n = 1; n <= RUN.reports; n++) {
        await logs.appendLogs({ ...lease, entries });
        await controllers.reportProgress({ reports: [{ ...lease, progress: n / RUN.reports }] });
      }
    }),
  );
}

/** What a run costs by its parts, round by round: an append costs something for itself and something for each of its entries. */
export function modelOf(of: (part: string) => number[]): number[] {
  return of('append of 1').map((one, i) => {
    const entry = (100 * of('append of 100, an entry')[i]! - one) / 99;
    const append = one + (RUN.each - 1) * entry;
    return of('claim and finish')[i]! + RUN.reports * (of('report of progress')[i]! + append);
  });
}
