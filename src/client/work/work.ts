import { type ClaimOptions, claim, type Services } from './claims.ts';
import { Heartbeat } from './heartbeat.ts';
import { type Handler, perform, type RunEnd } from './perform.ts';
import { type Claimed, Run } from './run.ts';
import { Draining } from './stops.ts';
import { unlessAborted } from './unless-aborted.ts';

/** Which work, as whom, how much at a time, and what to do with it. */
export type WorkOptions = ClaimOptions & {
  /**
   * Works a run. What it returns or throws is how the run ends: succeeded (with warnings), or failed with the message of the error as the last entry of
   * its log. It should listen to `run.signal`.
   */
  handler: Handler;
  /** Runs at a time: 1 to 1000; else 1. */
  concurrency?: number;
  /** Drains: nothing is claimed any more. */
  signal?: AbortSignal;
  /** Signals of the process that drain, too; else SIGTERM and SIGINT. */
  drainOn?: NodeJS.Signals[];
  /** For how long runs may go on then, before they are stopped and go back into the queue; else 10 s. */
  graceMs?: number;
  /** For how long the service may be away until what a run has to say is given up; else 10 minutes. */
  patienceMs?: number;
  /** Told of every run that was worked. */
  onEnd?: (run: Run, end: RunEnd) => void;
};

/**
 * Claims runs, works them and keeps their leases until it is drained; resolves when no run is left. It is patient with a service that is away.
 * Fails, after the runs that it has, when the service refuses to give work.
 */
export async function work(services: Services, options: WorkOptions): Promise<void> {
  const { concurrency = 1, drainOn = ['SIGTERM', 'SIGINT'], leaseSeconds = 30 } = options;
  const drain = new AbortController();
  const stop = AbortSignal.any([drain.signal, ...(options.signal ? [options.signal] : [])]);
  const onSignal = () => drain.abort();
  for (const name of drainOn) process.on(name, onSignal);
  const crew = new Crew(services, options, new Heartbeat(services.controllers, leaseSeconds * 1000));
  try {
    while (!stop.aborted) {
      if (crew.size >= concurrency) {
        await crew.change(stop);
        continue;
      }
      for (const claimed of await claim(services, options, concurrency - crew.size, stop)) {
        if (stop.aborted) await giveBack(services, claimed);
        else crew.start(claimed);
      }
    }
  } finally {
    await crew.drain();
    for (const name of drainOn) process.off(name, onSignal);
  }
}

/** What came when it was time to stop. If nobody hears of it, its lease will end. */
async function giveBack({ controllers }: Services, { controller, leaseToken }: Claimed): Promise<void> {
  await controllers.releaseController({ backupId: controller.backupId, leaseToken }).catch(() => {});
}

/** The runs that are being worked. */
class Crew {
  readonly #services: Services;
  readonly #options: WorkOptions;
  readonly #heartbeat: Heartbeat;
  readonly #running = new Map<Run, Promise<void>>();
  readonly #abandon = new AbortController();

  constructor(services: Services, options: WorkOptions, heartbeat: Heartbeat) {
    this.#services = services;
    this.#options = options;
    this.#heartbeat = heartbeat;
  }

  get size(): number {
    return this.#running.size;
  }

  start(claimed: Claimed): void {
    const { handler, onEnd, patienceMs = 600_000 } = this.#options;
    const lost = new AbortController();
    const lease = { backupId: claimed.controller.backupId, leaseToken: claimed.leaseToken };
    const log = this.#services.ingest({ ...lease, patienceMs, signal: lost.signal });
    const run = new Run(claimed, this.#services.controllers, log);
    this.#heartbeat.hold(run, reason => {
      run.stop(reason);
      lost.abort(reason);
    });
    const breaks = { lost: lost.signal, abandoned: this.#abandon.signal };
    const working = perform(this.#services, run, handler, breaks, patienceMs).then(end => {
      this.#heartbeat.letGo(run);
      this.#running.delete(run);
      onEnd?.(run, end);
    });
    this.#running.set(run, working);
  }

  /** Resolves when a run has ended, or at the abort. */
  async change(stop: AbortSignal): Promise<void> {
    await unlessAborted(Promise.race(this.#running.values()), stop);
  }

  /** Lets runs go on for the grace, then stops them, and leaves alone those whose handlers do not listen. */
  async drain(): Promise<void> {
    const { graceMs = 10_000 } = this.#options;
    const draining = new Draining('the worker ends');
    const timers = [
      setTimeout(() => this.#stopAll(draining), graceMs),
      setTimeout(() => this.#abandon.abort(draining), graceMs + DEAF_MS),
    ];
    await Promise.all(this.#running.values());
    timers.forEach(clearTimeout);
    this.#heartbeat[Symbol.dispose]();
  }

  #stopAll(reason: Draining): void {
    for (const run of this.#running.keys()) run.stop(reason);
  }
}

/** Milliseconds that a handler has to listen to its signal before nobody waits for it any more. */
const DEAF_MS = 5000;
