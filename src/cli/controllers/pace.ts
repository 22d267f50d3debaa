/** How fast a run goes, told by what it reports. Times are milliseconds of one clock, progress is 0 to 1. */
export class Pace {
  #samples: Sample[] = [];

  /** A progress that is smaller than the one before is a new beginning. */
  record(progress: number, at: number): void {
    const last = this.#samples.at(-1);
    if (last && progress < last.progress) this.#samples = [];
    if (last && progress === last.progress && this.#samples.length > 0) return;
    this.#samples.push({ progress, at });
    // One that is older than the window stays: what was done within it began there.
    while (this.#samples.length > 2 && this.#samples[1]!.at <= at - WINDOW_MS) this.#samples.shift();
  }

  /**
   * Share of the work a millisecond, of about the last minute; while it stands still it becomes smaller. `began` counts as a report of nothing when
   * there is only one other. Undefined when nothing can be said yet.
   */
  rate(now: number, began?: number): number | undefined {
    return this.#judge(now, began)?.rate;
  }

  /** Milliseconds until all is done at that rate; undefined when nothing can be said. */
  remaining(now: number, began?: number): number | undefined {
    const judged = this.#judge(now, began);
    return judged && Math.max(0, (1 - judged.progress) / judged.rate - Math.min(now - judged.at, judged.usual));
  }

  #judge(now: number, began?: number) {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (!first || !last) return undefined;
    const fromStart = first === last && began !== undefined && began < last.at;
    const base = fromStart ? { progress: 0, at: began } : first;
    const done = last.progress - base.progress;
    if (done <= 0 || last.at <= base.at) return undefined;
    // A report is late when it takes longer than they took on average: until then the work is taken to go on, from then on to stand still.
    const usual = (last.at - base.at) / (fromStart ? 1 : this.#samples.length - 1);
    return { ...last, usual, rate: done / (Math.max(last.at, now - usual) - base.at) };
  }
}

type Sample = { progress: number; at: number };

const WINDOW_MS = 60_000;
