/** The clocks on the walls of a zone through a year, read minute by minute: slow, and nothing to go wrong. */
export type WallClock = {
  /** The year in epoch seconds, both ends a day inside of it. */
  from: bigint;
  to: bigint;
  /** The instant of every local day at which a clock first shows this time or, when it jumps over it, the one at which it has jumped. */
  dailyStarts(time: string): bigint[];
};

export function wallClock(zone: string, year: number): WallClock {
  const format = new Intl.DateTimeFormat('en-CA', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
  });
  const from = Date.UTC(year, 0, 1) / 60_000;
  const to = Date.UTC(year + 1, 0, 1) / 60_000;
  const shown = (minute: number) => format.format(minute * 60_000).replace(', ', ' ');
  // Wall clocks go evenly except at a few changes: every hour is looked at, and the minutes of those in which they do not.
  const minutes: [instant: number, shows: string][] = [];
  for (let hour = from; hour < to; hour += 60) {
    const [here, there] = [shown(hour), shown(hour + 60)];
    const even = Date.parse(`${there.replace(' ', 'T')}Z`) - Date.parse(`${here.replace(' ', 'T')}Z`) === 3_600_000;
    const base = Date.parse(`${here.replace(' ', 'T')}Z`);
    for (let i = 0; i < 60; i++) {
      const shows = even ? new Date(base + i * 60_000).toISOString().slice(0, 16).replace('T', ' ') : shown(hour + i);
      minutes.push([hour + i, shows]);
    }
  }
  const known = new Map<string, bigint[]>();
  return {
    from: BigInt(from * 60) + 86_400n,
    to: BigInt(to * 60) - 86_400n,
    dailyStarts(time) {
      const found = known.get(time);
      if (found) return found;
      const starts: bigint[] = [];
      known.set(time, starts);
      const done = new Set<string>();
      let [, before] = minutes[0]!;
      for (const [instant, shows] of minutes) {
        // Of every day that the clock has just reached or passed the time of.
        const day = shows.slice(0, 10);
        const wanted = `${day} ${time}`;
        if (before < wanted && shows >= wanted && !done.has(day)) {
          done.add(day);
          starts.push(BigInt(instant * 60));
        }
        before = shows;
      }
      return starts;
    },
  };
}
