import { isDeepStrictEqual } from 'node:util';
import type { Logs } from '../segment/archive.ts';
import { Encoder } from './encode.ts';
import { type Head, readHeads } from './head.ts';
import { readMovedList } from './moved-list.ts';
import { ALL_LEVELS, least, type PageLimits, reach } from './page.ts';
import { type Rows, readRows } from './rows.ts';

/** Which entries of a log to list, and in which order. */
export type ListFilter = {
  maxLevel: number;
  from: { seconds: bigint; nanos: number } | undefined;
  to: { seconds: bigint; nanos: number } | undefined;
  /** Upper and lower case alike. */
  text: string;
  newestFirst: boolean;
};

/** A run whose log is listed; runs are listed in the order of their ids. */
export type ListedRun = { id: bigint; backupId: string };

/** Where a list goes on: in the log of this run behind this entry, or at its start. */
export type ListPlace = { run: bigint; after: bigint | undefined };

/**
 * The entries that match in the logs of these runs, one log after the other, as far as the limits allow, and the place where the next page
 * starts; undefined when all is listed. They come encoded, as elements of the repeated field `field`.
 */
export async function listRuns(
  logs: Logs,
  runs: ListedRun[],
  filter: ListFilter,
  start: ListPlace | undefined,
  limits: PageLimits,
  field: number,
): Promise<{ logs: Buffer[]; next: ListPlace | undefined }> {
  const heads = await readHeads(
    logs.pool,
    runs.map(run => run.backupId),
  );
  const listed: Buffer[] = [];
  const rest = { ...limits };
  for (const { id: run, backupId } of runs) {
    const after = run === start?.run ? start.after : undefined;
    if (rest.entries === 0) return { logs: listed, next: { run, after } };
    const page = await readList(logs, backupId, heads.get(backupId)!, filter, after, rest, field);
    const log = page.entries;
    // A single entry may be larger than what is left: then it starts the next page.
    if (log.length > rest.bytes && listed.length > 0) return { logs: listed, next: { run, after } };
    if (log.length > 0) listed.push(log);
    if (page.next !== undefined) return { logs: listed, next: { run, after: page.next } };
    rest.entries -= page.count;
    rest.bytes -= log.length;
  }
  return { logs: listed, next: undefined };
}

type List = { count: number; entries: Buffer; next: bigint | undefined };

/** A page of one log: entries that match among those after an id, and the id after which the next page starts. */
async function readList(
  logs: Logs,
  backupId: string,
  head: Head,
  filter: ListFilter,
  after: bigint | undefined,
  limits: PageLimits,
  field: number,
): Promise<List> {
  const { firstId, lastId, movedId } = head;
  const filtered = filter.maxLevel < ALL_LEVELS || !!filter.from || !!filter.to || !!filter.text;
  const span = reach(limits.entries, filtered) - 1n;
  const [from, to] = filter.newestFirst
    ? [most(firstId, (after ?? lastId + 1n) - 1n - span), least(lastId, (after ?? lastId + 1n) - 1n)]
    : [most(firstId, (after ?? 0n) + 1n), least(lastId, most(firstId, (after ?? 0n) + 1n) + span)];
  if (from > to) return { count: 0, entries: Buffer.alloc(0), next: undefined };
  const encoder = () => new Encoder(field, backupId);
  if (filter.newestFirst ? to <= movedId : from <= movedId) {
    const moved = await readMovedList(logs.archive, backupId, [from, least(to, movedId)], filter, limits, encoder());
    if (moved) return listOf(moved, head, filter);
    // Removed meanwhile, with the log or by retention.
    const again = (await readHeads(logs.pool, [backupId])).get(backupId)!;
    if (isDeepStrictEqual(again, head)) throw new Error(`segments of ${backupId} are not where its head says`);
    return readList(logs, backupId, again, filter, after, limits, field);
  }
  const oldest = most(from, movedId + 1n);
  const order = filter.newestFirst ? 'id desc' : 'id';
  const rows: Rows = given => {
    const within = `backupid = ${given(backupId)} and id between ${given(oldest)} and ${given(to)}`;
    const conditions = [within, ...matching(filter, given)].join(' and ');
    return { rows: `from backup_logs where ${conditions} order by ${order} limit ${given(limits.entries)}`, order };
  };
  const read = await readRows(logs.pool, backupId, rows, { plain: !filter.text, limits }, encoder);
  // Some have left the table since the head was read.
  if (read.movedId >= oldest)
    return readList(logs, backupId, { ...head, movedId: read.movedId }, filter, after, limits, field);
  const full = read.entries === limits.entries || read.entries < read.found;
  const looked = full ? read.lastId! : filter.newestFirst ? oldest : to;
  return listOf({ looked, encoder: read.encoder }, head, filter);
}

function listOf(
  { looked, encoder }: { looked: bigint; encoder: Encoder },
  { firstId, lastId }: Head,
  { newestFirst }: ListFilter,
): List {
  const done = newestFirst ? looked <= firstId : looked >= lastId;
  return { count: encoder.count, entries: encoder.finish(), next: done ? undefined : looked };
}

/** The conditions of a filter in SQL; `given` makes parameters of its values. */
export function matching(
  filter: Omit<ListFilter, 'newestFirst'>,
  given: (value: bigint | number | string) => string,
): string[] {
  const time = (at: { seconds: bigint; nanos: number }) => `(${given(at.seconds)}::bigint, ${given(at.nanos)}::int)`;
  const conditions = [];
  if (filter.maxLevel < ALL_LEVELS) conditions.push(`loglevel <= ${given(filter.maxLevel)}`);
  if (filter.from) conditions.push(`(created_at, created_nanos) >= ${time(filter.from)}`);
  if (filter.to) conditions.push(`(created_at, created_nanos) < ${time(filter.to)}`);
  if (filter.text) conditions.push(`message ilike ${given(`%${filter.text.replace(/[\\%_]/g, '\\$&')}%`)}`);
  return conditions;
}

const most = (a: bigint, b: bigint) => (a > b ? a : b);
