import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { LogLevel } from '../../gen/backup/v1/entry_pb.ts';
import { LogOrder } from '../../gen/backup/v1/log_pb.ts';
import type { Ledger } from './ledger.ts';
import { BackOff, Complaint, type Replica } from './replica.ts';

/** Where entries go. */
export type Target = { backupId: string; ledger: Ledger };

/**
 * Appends entry after entry until `signal` is aborted, `rate` in a second at most, through one replica after another. One that is not
 * acknowledged is sent again with the same request id, so that it is kept once.
 */
export async function writeAll(
  replicas: Replica[],
  { run, rate, target, tell }: { run: string; rate: number; target(): Target; tell(line: string): void },
  signal: AbortSignal,
): Promise<void> {
  const complaint = new Complaint('writing', tell);
  let due = performance.now();
  for (let number = 1; !signal.aborted; number++) {
    const { backupId, ledger } = target();
    const entries = [{ level: LogLevel.INFO, message: messageOf(run, number) }];
    const request = { backupId, entries, requestId: randomUUID() };
    ledger.began(number);
    const append = ({ logs }: Replica) => logs.appendLogs(request, { timeoutMs: ATTEMPT_MS });
    const written = await answered(inTurn(replicas, number), append, complaint, signal);
    if (!written) return;
    if (written.answer.dropped > 0) throw new Error('the service keeps no entries of level INFO (LOG_KEEP_LEVEL)');
    written.by.tally.written++;
    ledger.acknowledged(number, performance.now());
    // What was not written in time is not made up for: a service that comes back is not met by a burst.
    due = Math.max(due + 1000 / rate, performance.now());
    await delay(Math.max(0, due - performance.now()), undefined, { signal }).catch(() => {});
  }
}

/** The last id of a log; undefined if `signal` is aborted before anybody has answered. */
export async function lastIdOf(
  backupId: string,
  replicas: Replica[],
  tell: (line: string) => void,
  signal: AbortSignal,
): Promise<bigint | undefined> {
  const request = { backupId, order: LogOrder.NEWEST_FIRST, pageSize: 1 };
  const list = ({ logs }: Replica) => logs.listLogs(request, { timeoutMs: ATTEMPT_MS });
  const listed = await answered(replicas, list, new Complaint('listing', tell), signal);
  return listed && (listed.answer.entries[0]?.id ?? 0n);
}

/** Removes what was written to a log; when nobody does it, says so and leaves it to the service's retention. */
export async function removeLog(backupId: string, replicas: Replica[], tell: (line: string) => void): Promise<void> {
  const patience = AbortSignal.timeout(ATTEMPT_MS);
  const purge = ({ logs }: Replica) => logs.purgeLogs({ backupId }, { timeoutMs: ATTEMPT_MS });
  for (let more = true; more; ) {
    const purged = await answered(replicas, purge, new Complaint('removing', tell), patience);
    if (!purged) tell(`the log ${backupId} is left behind`);
    more = purged?.answer.more ?? false;
  }
}

/** An entry that says what it is to whoever finds it. */
function messageOf(run: string, number: number): string {
  return `canary ${run}: entry ${number}, written to see that it is delivered`;
}

/** The number of such an entry; undefined when another run, or somebody else, has written it. */
export function numberOf(run: string, message: string): number | undefined {
  const number = Number(message.match(/^canary \S+: entry (\d+),/)?.[1]);
  return message === messageOf(run, number) ? number : undefined;
}

/** Asks one replica after another, with pauses that grow when none answers; an attempt that is under way at the abort is waited for. */
async function answered<A>(
  replicas: Replica[],
  ask: (replica: Replica) => Promise<A>,
  complaint: Complaint,
  signal: AbortSignal,
): Promise<{ by: Replica; answer: A } | undefined> {
  const backOff = new BackOff();
  while (!signal.aborted) {
    let refusal: unknown;
    for (const by of replicas) {
      if (signal.aborted) return undefined;
      try {
        const answer = await ask(by);
        complaint.worked();
        return { by, answer };
      } catch (error) {
        refusal = error;
      }
    }
    complaint.failed(refusal);
    await backOff.pause(signal);
  }
  return undefined;
}

function inTurn(replicas: Replica[], turn: number): Replica[] {
  const first = turn % replicas.length;
  return [...replicas.slice(first), ...replicas.slice(0, first)];
}

/** Milliseconds. */
const ATTEMPT_MS = 5_000;
