import type { Tally } from './ledger.ts';
import type { Replica } from './replica.ts';

/** What a canary says at its end; times are milliseconds, and zeros when nothing was delivered. */
export function summaryOf(replicas: Replica[]) {
  const written = replicas.reduce((sum, { tally }) => sum + tally.written, 0);
  return {
    /** Who has written nothing has proved nothing. */
    ok: written > 0 && replicas.every(({ tally }) => tally.faults === 0),
    written,
    replicas: replicas.map(({ address, tally }) => {
      const { written, delivered, missing, duplicate, outOfOrder, late } = tally;
      return { address, written, delivered, missing, duplicate, outOfOrder, late, latencyMs: latencyOf(tally) };
    }),
  };
}

export function lineOf({ address, tally }: Replica): string {
  const { p50, p99, max } = latencyOf(tally);
  return [
    `${address}: written ${tally.written}`,
    `delivered ${tally.delivered}`,
    `missing ${tally.missing}`,
    `duplicate ${tally.duplicate}`,
    `out of order ${tally.outOfOrder}`,
    `late ${tally.late}`,
    `p50/p99/max ${p50}/${p99}/${max} ms`,
  ].join(', ');
}

function latencyOf({ latency }: Tally) {
  const ms = (us: number) => (latency.count === 0 ? 0 : Math.round(us) / 1000);
  return { p50: ms(latency.percentile(50)), p99: ms(latency.percentile(99)), max: ms(latency.max) };
}
