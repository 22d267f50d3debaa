import { quantile } from './figure.ts';
import type { Log } from './log.ts';
import { now, type Received } from './subscribe.ts';

const PER_SECOND = 200;
const APPENDS = 1_200;
const WARM_UP = 200; // the first ones are not counted

/** Milliseconds from the sending of an append to its answer, and to the arrival of its entry at a subscriber. */
export async function appendAndTail(log: Log): Promise<Record<string, number>> {
  const name = crypto.randomUUID();
  const { live, received } = await log.follow(name, 1, APPENDS);
  await live;
  const ids: number[] = [];
  const { sent, answered } = await paced(async n => {
    ids[n] = await log.append(name, 1);
  });
  const arrived = arrivalsById(await received);
  const times = (at: number[]) => sent.map((start, n) => at[n]! - start);
  return { ...percentiles('append', times(answered)), ...percentiles('tail', times(ids.map(id => arrived[id - 1]!))) };
}

/** Sends at a steady pace, whether or not what was sent before is answered; resolves with when each was sent and answered. */
export async function paced(send: (n: number) => Promise<unknown>): Promise<{ sent: number[]; answered: number[] }> {
  const sent: number[] = [];
  const answered: number[] = [];
  const answers: Promise<void>[] = [];
  const over = Promise.withResolvers<void>();
  const start = now();
  // A timer of Node may be late by a millisecond; what is due is sent then, so that the pace is kept.
  const timer = setInterval(() => {
    while (sent.length < APPENDS && now() - start >= (sent.length / PER_SECOND) * 1000) {
      const n = sent.length;
      sent.push(now());
      answers.push(
        send(n).then(() => {
          answered[n] = now();
        }),
      );
    }
    if (sent.length === APPENDS) over.resolve();
  }, 1);
  await over.promise;
  clearInterval(timer);
  await Promise.all(answers);
  return { sent, answered };
}

export function percentiles(name: string, ms: number[]): Record<string, number> {
  const sorted = ms.slice(WARM_UP).sort((a, b) => a - b);
  return { [`${name} p50`]: quantile(sorted, 0.5), [`${name} p99`]: quantile(sorted, 0.99) };
}

function arrivalsById({ arrivals }: Received): number[] {
  return arrivals.flatMap(([id, at], i) => Array<number>(id - (arrivals[i - 1]?.[0] ?? 0)).fill(at));
}
