import type { Archive, Logs } from '../segment/archive.ts';
import type { MovedEntry, Segment } from '../segment/segment.ts';
import { isWanted, share, type Wanted } from '../segment/summary.ts';
import type { Encoder } from './encode.ts';
import { ENTRY_OVERHEAD, least, type PageLimits } from './limits.ts';

/**
 * Entries that match between two ids, both of which have left the table, in the order that is asked for and as far as the limits allow; and the id up
 * to which was looked. Undefined when they were removed meanwhile.
 */
export async function readMovedList(
  { archive }: Logs,
  backupId: string,
  { from, to }: { from: bigint; to: bigint },
  filter: Wanted & { text: string; newestFirst: boolean },
  limits: PageLimits,
  newEncoder: () => Encoder,
): Promise<{ looked: bigint; encoder: Encoder } | undefined> {
  const { newestFirst } = filter;
  const rows = await archive.rows(backupId, { from, to, newestFirst }, SEGMENTS);
  const [nearest] = rows;
  if (!nearest || (newestFirst ? nearest.lastId < to : nearest.firstId > from)) return undefined;
  const encoder = newEncoder();
  let bytes = 0;
  let looked = newestFirst ? to + 1n : from - 1n;
  for (const row of rows) {
    const [first, last] = [row.firstId > from ? row.firstId : from, least(row.lastId, to)];
    if (share(row.levels, filter) !== 'none') {
      const segment = await archive.open(row);
      if (!segment) return undefined;
      for (const entry of await matchingOf(archive, segment, [first, last], filter)) {
        bytes += entry.message.length + ENTRY_OVERHEAD;
        // Whatever comes before it was looked at, and did not match.
        if (encoder.count > 0 && bytes > limits.bytes)
          return { looked: newestFirst ? entry.id + 1n : entry.id - 1n, encoder };
        encoder.add(entry);
        if (encoder.count === limits.entries) return { looked: entry.id, encoder };
      }
    }
    looked = newestFirst ? first : last;
  }
  return { looked, encoder };
}

async function matchingOf(
  archive: Archive,
  segment: Segment,
  [first, last]: [bigint, bigint],
  filter: Wanted & { text: string; newestFirst: boolean },
): Promise<Iterable<MovedEntry>> {
  const wanted = segment.entries(first, last, filter.newestFirst).filter(entry => isWanted(entry, filter));
  if (!filter.text) return wanted;
  const all = [...wanted];
  const found = await archive.matching(
    all.map(({ message }) => message.toString()),
    filter.text,
  );
  return all.filter((_, i) => found[i]);
}

/** That a page looks at: of long entries there is one in each. */
const SEGMENTS = 32;
