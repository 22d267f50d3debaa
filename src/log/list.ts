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

/** A page of one log: entries that match among those after an id, and the id after which the next page starts. */
async function readList(
  logs: Logs,
  backupId: string,
  head: Head,
  filter: ListFilter,
  after: bigint | undefined,
  limits: PageLimits,
  field: number,
): Promise<{ count: number; entries: Buffer; next: bigint | undefined }> {
  const { firstId, lastId, movedId } = head;
  const { newestFirst } = filter;
  const filtered = filter.maxLevel < ALL_LEVELS || !!filter.from || !!filter.to || !!filter.text;
  const span = reach(limits.entries, filtered) - 1n;
  const [from, to] = newestFirst
    ? [most(firstId, (after ?? lastId + 1n) - 1n - span), least(lastId, (after ?? lastId + 1n) - 1n)]
    : [most(firstId, (after ?? 0n) + 1n), least(lastId, most(firstId, (after ?? 0n) + 1n) + span)];
  const [moved, kept] = [
    { read: readMovedList, from, to: least(to, movedId) },
    { read: readKept, from: most(from, movedId + 1n), to },
  ];
  const pieces: Buffer[] = [];
  const rest = { ...limits };
  let looked = newestFirst ? firstId : lastId;
  for (const part of newestFirst ? [kept, moved] : [moved, kept]) {
    if (part.from > part.to || rest.entries === 0) continue;
    const some = await part.read(logs, backupId, part, filter, rest, () => new Encoder(field, backupId));
    if (!some) {
      // What was there when the head was read has left the table since, or was removed.
      const again = (await readHeads(logs.pool, [backupId])).get(backupId)!;
      if (isDeepStrictEqual(again, head)) throw new Error(`segments of ${backupId} are not where its head says`);
      return readList(logs, backupId, again, filter, after, limits, field);
    }
    const piece = some.encoder.finish();
    // A single entry may be larger than what is left: then it starts the next page.
    if (piece.length > rest.bytes && pieces.length > 0) break;
    pieces.push(piece);
    rest.entries -= some.encoder.count;
    rest.bytes -= piece.length;
    looked = some.looked;
    if (looked !== (newestFirst ? part.from : part.to)) break;
  }
  const done = newestFirst ? looked <= firstId : looked >= lastId;
  const entries = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
  return { count: limits.entries - rest.entries, entries, next: done ? undefined : looked };
}

/** The part of a page that is in the table; undefined when some of it is not any more. */
async function readKept(
  { pool }: Logs,
  backupId: string,
  { from, to }: { from: bigint; to: bigint },
  filter: ListFilter,
  limits: PageLimits,
  encoder: () => Encoder,
): Promise<{ looked: bigint; encoder: Encoder } | undefined> {
  const order = filter.newestFirst ? 'id desc' : 'id';
  const rows: Rows = given => {
    const within = `backupid = ${given(backupId)} and id between ${given(from)} and ${given(to)}`;
    const conditions = [within, ...matching(filter, given)].join(' and ');
    return { rows: `from backup_logs where ${conditions} order by ${order} limit ${given(limits.entries)}`, order };
  };
  const read = await readRows(pool, backupId, rows, { plain: !filter.text, limits }, encoder);
  if (read.movedId >= from) return undefined;
  const full = read.entries === limits.entries || read.entries < read.found;
  return { looked: full ? read.lastId! : filter.newestFirst ? from : to, encoder: read.encoder };
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
