import type { Controller, ControllerService } from '../../gen/backup/v1/controller_pb.ts';
import type { Course } from '../../gen/backup/v1/course_pb.ts';
import type { ServiceClient } from '../calls.ts';
import type { LogWriter } from '../ingest/writer.ts';
import { retrying } from '../retry.ts';
import type { Stop } from './stops.ts';

/** A run that was claimed, and the course and start that it is for, if it is one of ClaimDueCourses. */
export type Claimed = { controller: Controller; leaseToken: string; course?: Course; slotTime?: Date };

/** What a handler has of its run. */
export class Run {
  readonly controller: Controller;
  readonly course: Course | undefined;
  /** The start that the run of a course is for; it may be long past. */
  readonly slotTime: Date | undefined;
  /** Proof that the run is this worker's, for what the handler calls by itself. */
  readonly leaseToken: string;
  /** The run's log. The handler need not flush it. */
  readonly log: LogWriter;
  readonly #controllers: ServiceClient<typeof ControllerService>;
  readonly #stop = new AbortController();
  #progress: { progress: number; reset: boolean } | undefined;

  constructor(claimed: Claimed, controllers: ServiceClient<typeof ControllerService>, log: LogWriter) {
    this.controller = claimed.controller;
    this.course = claimed.course;
    this.slotTime = claimed.slotTime;
    this.leaseToken = claimed.leaseToken;
    this.log = log;
    this.#controllers = controllers;
  }

  get backupId(): string {
    return this.controller.backupId;
  }

  /** 1 for the first one. */
  get attempt(): number {
    return this.controller.attempt;
  }

  /** Aborted when the handler has to stop; the reason is `LeaseLost`, `Cancelled` or `Draining`. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** How far the run is, 0 to 1; told within half a second. Less than before is ignored unless a new phase begins (`reset`). */
  progress(share: number, { reset = false } = {}): void {
    this.#progress = { progress: Math.min(1, Math.max(0, share)), reset: reset || (this.#progress?.reset ?? false) };
  }

  /** What the run was created with; empty when there is nothing. */
  payload(): Promise<Uint8Array> {
    const read = async (timeoutMs: number) => {
      const chunks: Uint8Array[] = [];
      for await (const { part } of this.#controllers.downloadPayload({ backupId: this.backupId }, { timeoutMs })) {
        if (part.case === 'chunk') chunks.push(part.value);
      }
      return Buffer.concat(chunks);
    };
    return retrying(read, { timeoutMs: 300_000, signal: this.signal });
  }

  /** What there is to report, once. */
  takeProgress(): { progress: number; reset: boolean } | undefined {
    const progress = this.#progress;
    this.#progress = undefined;
    return progress;
  }

  get hasProgress(): boolean {
    return this.#progress !== undefined;
  }

  /** Tells the handler to stop; the first reason counts. */
  stop(reason: Stop): void {
    this.#stop.abort(reason);
  }
}
