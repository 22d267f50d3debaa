import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { ringChange } from './controller/bell.ts';
import { forgetRuns } from './course/forget.ts';
import type { Schedule } from './course/schedule.ts';
import type { Doorbell } from './db/doorbell.ts';
import { ErrorReason, toStatusError } from './errors.ts';
import type { ServingState } from './grpc/health.ts';
import { dropStaleChunks } from './payload/stale.ts';
import { periodic } from './periodic.ts';
import { forgetAnswers } from './request/forget.ts';
import { sweep } from './work/sweep.ts';

/** Keeps health at what the database says. */
export function watchDatabase(pool: Pool, health: ServingState, intervalMs: number): AsyncDisposable {
  return periodic(intervalMs, async signal => {
    const answers = await pool.query('select 1').then(
      () => true,
      // Too much to do says nothing of the database, and a replica that is taken out gives its share to the others.
      error => (toStatusError(error).reason === ErrorReason.OVERLOADED ? health.serving : false),
    );
    if (!signal.aborted) health.serving = answers;
  });
}

/** Looks for workers that are gone. A database that is away is not worth a word: it has the leases, and they wait for it. */
export function sweepLeases(
  { pool, doorbell, log }: { pool: Pool; doorbell: Doorbell; log: Logger },
  intervalMs: number,
  fallback: Schedule | undefined,
): AsyncDisposable & { leasesLost: number; coursesRepaired: number } {
  const sweeps = { leasesLost: 0, coursesRepaired: 0 };
  // Twice as often as anybody has to, so that a round which came just too early costs half an interval only.
  const sweeping = periodic(intervalMs / 2, async () => {
    const swept = await sweep(pool, intervalMs, fallback).catch(() => undefined);
    sweeps.leasesLost += swept?.lost.length ?? 0;
    sweeps.coursesRepaired += swept?.repaired.length ?? 0;
    for (const { run, status } of swept?.lost ?? []) {
      log.warn({ backupId: run.backupId, worker: run.leaseWorker, attempt: run.attempt, status }, 'lease lost');
      ringChange(doorbell, { ...run, status });
    }
    for (const course of swept?.repaired ?? []) {
      log.warn({ ...course, courseId: String(course.courseId) }, 'course was said to be running and was not');
    }
  });
  return Object.assign(sweeps, sweeping);
}

/** Forgets old answers to requests. A database that is away is not worth a word: the next round will find it. */
export function expireRequests(pool: Pool, retentionMs: number, log: Logger): AsyncDisposable {
  return periodic(60_000, async signal => {
    const forgotten = await forgetAnswers(pool, retentionMs, signal).catch(() => 0);
    if (forgotten > 0) log.debug({ forgotten }, 'forgot old requests');
  });
}

/** Deletes old records of what became of courses' starts. */
export function expireCourseRuns(pool: Pool, olderThan: number | undefined, log: Logger): AsyncDisposable {
  return periodic(60_000, async signal => {
    if (olderThan === undefined) return;
    const forgotten = await forgetRuns(pool, olderThan, signal).catch(() => 0);
    if (forgotten > 0) log.debug({ forgotten }, 'deleted old records of course runs');
  });
}

/** Deletes what uploads have left behind, now and again; a database that is away is not worth a word here either. */
export function sweepChunks(pool: Pool, log: Logger): AsyncDisposable {
  return periodic(60_000, async signal => {
    const dropped = await dropStaleChunks(pool, signal).catch(() => 0);
    if (dropped > 0) log.debug({ dropped }, 'deleted chunks of old uploads');
  });
}
