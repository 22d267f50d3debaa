import type { Backlog } from '../summary/backlog.ts';
import type { Books } from './books.ts';

/** A metric that is copied from the books. One that ends in _total only grows. */
export type Copied = {
  help: string;
  label?: string[];
  /** Undefined when it is not known; the backlog is not when the database does not say. */
  of(
    books: Books,
    backlog: Backlog | undefined,
  ): number | [labels: Record<string, string>, value: number][] | undefined;
};

export const copied: Record<string, Copied> = {
  backup_serving: { help: '1 while health says SERVING', of: ({ health }) => Number(health.serving) },
  backup_calls_running: { help: 'Calls that are running, streams included', of: ({ admission }) => admission.calls },
  backup_streams_running: { help: 'Streams that are running', of: ({ admission }) => admission.streams },
  backup_calls_refused_total: {
    help: 'Calls that limits have refused; the log says which limit, and of whom',
    of: ({ admission }) => [...admission.refused.values()].reduce((sum, count) => sum + count, 0),
  },
  backup_queue_depth: { help: 'Runs that could be claimed now, up to 10,000', of: (_, backlog) => backlog?.due },
  backup_queue_oldest_due_seconds: {
    help: 'For how long the longest due run has waited for a worker',
    of: (_, backlog) => backlog?.oldestDue,
  },
  backup_runs_executing: { help: 'Runs in progress, up to 10,000', of: (_, backlog) => backlog?.executing },
  backup_leases_expired: {
    help: 'Runs whose lease has ended and that nobody has taken from their worker yet',
    of: (_, backlog) => backlog?.expired,
  },
  backup_courses_overdue: { help: 'Courses whose start has come, up to 10,000', of: (_, backlog) => backlog?.courses },
  backup_courses_oldest_due_seconds: {
    help: 'For how long the longest due course has waited for a worker',
    of: (_, backlog) => backlog?.oldestCourse,
  },
  backup_leases_lost_total: { help: 'Leases that this replica found ended', of: ({ sweeps }) => sweeps.leasesLost },
  backup_courses_repaired_total: {
    help: 'Courses that said they were running while nobody ran them',
    of: ({ sweeps }) => sweeps.coursesRepaired,
  },
  backup_tails_open: { help: 'Tails that follow', of: ({ tails }) => tails.size.readers },
  backup_tail_logs: { help: 'Logs that are followed', of: ({ tails }) => tails.size.logs },
  backup_tail_recent_bytes: { help: 'What is kept for tails', of: ({ tails }) => tails.size.recentBytes },
  backup_tail_lag_entries: {
    help: 'Entries by which the slowest tail is behind that had delivered all there was once',
    of: ({ tails }) => tails.lag,
  },
  backup_watches_open: { help: 'Watches that are open', of: ({ watches }) => watches.size.watchers },
  backup_append_queue_bytes: { help: 'What waits to be appended', of: ({ appender }) => appender.queue.bytes },
  backup_append_queue_max_bytes: {
    help: 'How much may wait to be appended (APPEND_QUEUE_BYTES)',
    of: ({ appender }) => appender.queue.mostBytes,
  },
  backup_doorbell_connected: {
    help: '1 while rings of other replicas are heard',
    of: ({ doorbell: { connected } }) => (connected === undefined ? undefined : Number(connected)),
  },
  backup_doorbell_connections_total: {
    help: 'Connections for that; each but the first one replaces one that broke',
    of: ({ doorbell }) => doorbell.connections,
  },
  backup_doorbell_dropped_total: {
    help: 'Rings that other replicas were not sent: too many waited for it, or the connection broke meanwhile',
    of: ({ doorbell }) => doorbell.dropped,
  },
  backup_retention_deleted_total: {
    help: 'Rows that retention has deleted on this replica',
    label: ['table'],
    of: ({ retention: { deleted } }) => [
      [{ table: 'backup_controllers' }, deleted.controllers],
      [{ table: 'backup_logs' }, deleted.logEntries],
    ],
  },
  backup_retention_last_round_timestamp_seconds: {
    help: 'When the last round of retention ended without an error, or was begun to be waited for',
    of: ({ retention: { intervalMs, lastRound } }) => intervalMs && lastRound / 1000,
  },
  backup_retention_interval_seconds: {
    help: 'How often there should be one (RETENTION_INTERVAL)',
    of: ({ retention: { intervalMs } }) => intervalMs && intervalMs / 1000,
  },
  backup_standby_read: {
    help: '1 while lists and history are read from the standby (DATABASE_READ_URL)',
    of: ({ standby }) => standby && Number(standby.state === 'READ'),
  },
  backup_standby_lag_seconds: {
    help: 'By how much the standby is behind at most; while it is not read from it grows',
    of: ({ standby }) => standby && standby.lagMs / 1000,
  },
  backup_reads_total: {
    help: 'Reads that may go to the standby, by who has answered',
    label: ['place'],
    of: ({ standby }) => standby && Object.entries(standby.reads).map(([place, count]) => [{ place }, count]),
  },
  backup_read_fallbacks_total: {
    help: 'Reads that were begun on the standby and done again by the primary',
    of: ({ standby }) => standby?.fallbacks,
  },
  backup_segments_moved_total: {
    help: 'Segments that this replica has moved to the store',
    of: ({ segments }) => segments.moved.segments,
  },
  backup_segment_entries_moved_total: {
    help: 'Log entries in them',
    of: ({ segments }) => segments.moved.entries,
  },
  backup_segment_bytes_moved_total: {
    help: 'Bytes of them, as they are in the store',
    of: ({ segments }) => segments.moved.bytes,
  },
  backup_segments_removed_total: {
    help: 'Objects that this replica has removed from the store',
    of: ({ segments }) => segments.removed,
  },
  backup_segment_failures_total: {
    help: 'What failed: rounds and logs that could not be moved (move), reads of a store that does not answer (read), segments that are lost (lost)',
    label: ['what'],
    of: ({ segments, archive: { reads } }) => [
      [{ what: 'move' }, segments.failed],
      [{ what: 'read' }, reads.unavailable],
      [{ what: 'lost' }, reads.lost],
    ],
  },
  backup_segment_reads_total: {
    help: 'Segments that were read, from the store or from what is kept',
    label: ['from'],
    of: ({ archive: { reads } }) => [
      [{ from: 'store' }, reads.store],
      [{ from: 'cache' }, reads.cache],
    ],
  },
  backup_segment_cache_bytes: { help: 'What is kept of them', of: ({ archive }) => archive.cachedBytes },
  backup_segments_last_round_timestamp_seconds: {
    help: 'When the last round of moves ended without an error, or was begun to be waited for',
    of: ({ segments: { intervalMs, lastRound } }) => intervalMs && lastRound / 1000,
  },
  backup_segments_interval_seconds: {
    help: 'How often there should be one (SEGMENT_INTERVAL)',
    of: ({ segments: { intervalMs } }) => intervalMs && intervalMs / 1000,
  },
  db_client_connection_count: {
    help: 'Connections to the database, idle or used',
    label: ['db_client_connection_pool_name', 'db_client_connection_state'],
    of: ({ pools }) =>
      Object.entries(pools).flatMap(([name, { totalCount, idleCount }]) => [
        [ofPool(name, 'idle'), idleCount],
        [ofPool(name, 'used'), totalCount - idleCount],
      ]),
  },
  db_client_connection_max: {
    help: 'How many there may be',
    label: ['db_client_connection_pool_name'],
    of: ({ pools }) => Object.entries(pools).map(([name, { options }]) => [ofPool(name), options.max]),
  },
  db_client_connection_pending_requests: {
    help: 'Who waits for one',
    label: ['db_client_connection_pool_name'],
    of: ({ pools }) => Object.entries(pools).map(([name, { waitingCount }]) => [ofPool(name), waitingCount]),
  },
};

function ofPool(name: string, state?: string): Record<string, string> {
  return { db_client_connection_pool_name: name, ...(state && { db_client_connection_state: state }) };
}
