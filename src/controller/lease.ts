import { epochMillis, epochNow } from '../db/clock.ts';
import { Status } from './lifecycle.ts';

/** What a claim sets of a run `c`, in SQL: a new attempt, held by a worker. The three are SQL as well; the lease is in milliseconds. */
export function leaseTo({ token, worker, ms }: { token: string; worker: string; ms: string }): string {
  return `
    status = ${Status.EXECUTING}, attempt = c.attempt + 1, progress = 0, outcome = 0, cancelrequestedat = 0,
    leasetoken = ${token}, leaseworker = ${worker}, leasems = ${ms},
    leasedat = ${epochMillis}, leaseexpires = ${epochMillis} + ${ms},
    startedat = ${epochNow}, endedat = 0, updated_at = greatest(c.updated_at, ${epochNow}), revision = c.revision + 1`;
}
