import type { StoredLevel } from './entity.ts';
import type { MovedEntry } from './segment.ts';

/** Counts and times of entries by level. */
export class Levels {
  readonly #levels = new Map<number, { count: number; first: bigint; last: bigint }>();

  add(entry: MovedEntry): void {
    const time = nanosOf(entry);
    const level = this.#levels.get(entry.level) ?? { count: 0, first: time, last: time };
    level.count++;
    if (time < level.first) level.first = time;
    if (time > level.last) level.last = time;
    this.#levels.set(entry.level, level);
  }

  toStored(): StoredLevel[] {
    return [...this.#levels].map(([level, { count, first, last }]) => ({
      level,
      count,
      first: String(first),
      last: String(last),
    }));
  }
}

export function levelsOf(entries: Iterable<MovedEntry>): StoredLevel[] {
  const levels = new Levels();
  for (const entry of entries) levels.add(entry);
  return levels.toStored();
}

/** When an entry was written, in nanoseconds since the epoch. */
export function nanosOf({ seconds, nanos }: Pick<MovedEntry, 'seconds' | 'nanos'>): bigint {
  return BigInt(seconds) * 1_000_000_000n + BigInt(nanos);
}

/** Which entries are asked for, where levels and times decide. */
export type Wanted = { maxLevel: number; from?: Time | undefined; to?: Time | undefined };

type Time = { seconds: bigint; nanos: number };

export function isWanted(entry: MovedEntry, { maxLevel, from, to }: Wanted): boolean {
  return entry.level <= maxLevel && (!from || nanosOf(entry) >= nanosOf(from)) && (!to || nanosOf(entry) < nanosOf(to));
}

/** Whether all entries of these levels are wanted, or none, or nobody knows without looking at them. */
export function share(levels: readonly StoredLevel[], { maxLevel, from, to }: Wanted): 'all' | 'none' | 'some' {
  const shares = levels.map(({ level, first, last }) => {
    if (level > maxLevel) return 'none';
    if ((from && BigInt(last) < nanosOf(from)) || (to && BigInt(first) >= nanosOf(to))) return 'none';
    return (!from || BigInt(first) >= nanosOf(from)) && (!to || BigInt(last) < nanosOf(to)) ? 'all' : 'some';
  });
  const [one = 'none'] = shares;
  return shares.every(other => other === one) ? one : 'some';
}
