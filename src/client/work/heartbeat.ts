import type { ControllerService } from '../../gen/backup/v1/controller_pb.ts';
import { ErrorReason } from '../../gen/backup/v1/error_pb.ts';
import type { ServiceClient } from '../calls.ts';
import type { Run } from './run.ts';
import { Cancelled, LeaseLost } from './stops.ts';

/** A run that is held: when it was last heard of, and who is told when its lease is lost. */
type Held = { run: Run; heardAt: number; lost(reason: LeaseLost): void };

/**
 * Keeps the leases of all runs that a worker holds, by one call for all of them: three reports within the duration of a lease, and more when there is
 * progress to tell, at most two in a second. Runs hear from it that they are cancelled or lost.
 */
export class Heartbeat implements Disposable {
  readonly #controllers: ServiceClient<typeof ControllerService>;
  readonly #leaseMs: number;
  readonly #held = new Map<string, Held>();
  readonly #timer: NodeJS.Timeout;
  #reporting = false;

  constructor(controllers: ServiceClient<typeof ControllerService>, leaseMs: number) {
    this.#controllers = controllers;
    this.#leaseMs = leaseMs;
    this.#timer = setInterval(() => void this.#beat(), Math.min(500, leaseMs / 6));
  }

  hold(run: Run, lost: (reason: LeaseLost) => void): void {
    this.#held.set(run.leaseToken, { run, heardAt: performance.now(), lost });
  }

  letGo(run: Run): void {
    this.#held.delete(run.leaseToken);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  async #beat(): Promise<void> {
    const now = performance.now();
    const due = [...this.#held.values()].filter(
      ({ run, heardAt }) => run.hasProgress || now - heardAt >= this.#leaseMs / 3,
    );
    if (due.length === 0 || this.#reporting) return;
    this.#reporting = true;
    try {
      for (let from = 0; from < due.length; from += MOST) await this.#report(due.slice(from, from + MOST));
    } finally {
      this.#reporting = false;
    }
  }

  async #report(some: Held[]): Promise<void> {
    const now = performance.now();
    const reports = some.map(({ run }) => {
      const { backupId, leaseToken } = run;
      return { backupId, leaseToken, ...run.takeProgress() };
    });
    // The next beat makes up for one that failed, so none is repeated. Should a lease have ended meanwhile, it will say so.
    const once = { retry: false, timeoutMs: Math.max(1000, this.#leaseMs / 3) };
    const answer = await this.#controllers.reportProgress({ reports }, once).catch(() => undefined);
    for (const [i, held] of some.entries()) {
      if (!answer) {
        const { progress, reset } = reports[i]!;
        if (progress !== undefined && !held.run.hasProgress) held.run.progress(progress, { reset: reset! });
        continue;
      }
      held.heardAt = now;
      const { error, cancelRequested } = answer.results[i]!;
      if (error?.reason === ErrorReason.LEASE_LOST) {
        this.#held.delete(held.run.leaseToken);
        held.lost(new LeaseLost(error.message));
      } else if (cancelRequested) held.run.stop(new Cancelled('cancelled'));
    }
  }
}

/** Reports in a call. */
const MOST = 1000;
