import type { ControllerService } from '../src/gen/backup/v1/controller_pb.ts';
import { ErrorReason } from '../src/gen/backup/v1/error_pb.ts';
import type { TypedClient } from '../src/grpc/client.ts';
import { type Lease, LIMIT } from './client.ts';

/** The run is somebody else's now: nothing more is to be written for it. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost';
}

/** Somebody has asked that the run be cancelled. */
export class Cancelled extends Error {
  override readonly name = 'Cancelled';
}

/**
 * Keeps a lease while the work goes on, however long a part of it takes: three reports within its duration, and at most two in a second when there is
 * progress to tell. Never makes the work wait. `signal` says when it has to stop; the reason is `LeaseLost` or `Cancelled`.
 */
export class Heartbeat implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #controllers: TypedClient<typeof ControllerService>;
  readonly #lease: Lease;
  readonly #timer: NodeJS.Timeout;
  #progress: number | undefined;
  #last = 0;
  #underWay: Promise<void> | undefined;

  constructor(controllers: TypedClient<typeof ControllerService>, lease: Lease, leaseSeconds: number) {
    this.#controllers = controllers;
    this.#lease = lease;
    this.#timer = setInterval(() => this.#beat(), (leaseSeconds * 1000) / 3);
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  report(progress: number): void {
    this.#progress = progress;
    if (Date.now() - this.#last >= 500) this.#beat();
  }

  /** Ends the reports; the lease is kept for as long as it lasts. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#underWay;
  }

  #beat(): void {
    if (this.#underWay !== undefined) return;
    this.#last = Date.now();
    this.#underWay = this.#send();
  }

  async #send(): Promise<void> {
    const progress = this.#progress;
    try {
      const { results } = await this.#controllers.reportProgress(
        { reports: [{ ...this.#lease, ...(progress !== undefined && { progress }) }] },
        LIMIT,
      );
      const [{ error, cancelRequested } = {}] = results;
      if (error?.reason === ErrorReason.LEASE_LOST) this.#stop.abort(new LeaseLost(error.message));
      else if (cancelRequested) this.#stop.abort(new Cancelled('cancelled'));
    } catch {
      // The next one makes up for it. Should the lease end meanwhile, it will say so.
    }
    this.#underWay = undefined;
  }
}
