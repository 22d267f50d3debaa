/** One line of the result. */
export type Figure = {
  name: string;
  value: number;
  unit: string;
  /** What it is measured against, in the same unit and run; of memory it is what it may be at most. */
  ceiling: number;
  /** Of the value to the ceiling. */
  ratio: number;
  /** None: it is told, not judged. */
  goal: number | null;
  /** Which way the ratio is to pass the goal: rates are to be high, times and memory low. */
  better: 'higher' | 'lower';
  met: boolean;
};

/** What is measured in turn with others: one figure, or several by name. */
export type Contestant = { name: string; run(): Promise<number | Record<string, number>> };

/** Lets contestants run in turn, and returns the figures of each in ascending order; those that are several under `contestant name`. */
export async function alternate(
  contestants: Contestant[],
  rounds: number,
  unit = '1/s',
): Promise<Map<string, number[]>> {
  const measured: [string, number][] = [];
  for (let round = 0; round < rounds; round++) {
    // Each starts a round once in a while: whoever comes first finds the machine differently from whoever comes last.
    const order = contestants.map((_, i) => contestants[(i + round) % contestants.length]!);
    for (const { name, run } of order) {
      const result = await run();
      if (typeof result === 'number') measured.push([name, result]);
      else for (const [key, value] of Object.entries(result)) measured.push([`${name} ${key}`, value]);
    }
  }
  const figures = new Map<string, number[]>(measured.map(([name]) => [name, []]));
  for (const [name, value] of measured) figures.get(name)!.push(value);
  for (const [name, all] of figures) {
    all.sort((a, b) => a - b);
    console.log(`  ${name.padEnd(44)} ${rounded(median(all)).padStart(9)} ${unit}   (${all.map(rounded).join(' ')})`);
  }
  return figures;
}

/** What a rate is worth against another one: at least the goal. */
export function compare(name: string, value: number[], ceiling: number[], goal: number | null): Figure {
  const ratio = ratioOf(value, ceiling);
  const medians = { value: median(value), ceiling: median(ceiling) };
  return { name, ...medians, unit: '1/s', ratio, goal, better: 'higher', met: goal === null || ratio >= goal };
}

/** What a time or an amount of memory is against another one: at most the goal. */
export function compareCost(
  name: string,
  value: number[],
  ceiling: number[],
  goal: number | null,
  unit: string,
): Figure {
  const ratio = ratioOf(value, ceiling);
  const medians = { value: median(value), ceiling: median(ceiling) };
  return { name, ...medians, unit, ratio, goal, better: 'lower', met: goal === null || ratio <= goal };
}

export function print(figures: Figure[]): void {
  console.log(
    `\n${' '.repeat(44)}${['value', 'ceiling', 'unit', 'ratio', 'goal'].map(text => text.padStart(9)).join('')}`,
  );
  for (const { name, value, unit, ceiling, ratio, goal, better, met } of figures) {
    const sign = better === 'higher' ? '>=' : '<=';
    const judged = goal === null ? ['', ''] : [`${sign} ${goal.toFixed(2)}`, met ? '  met' : '  MISSED'];
    const columns = [rounded(value), rounded(ceiling), unit, ratio.toFixed(2), judged[0]!];
    console.log(`${name.padEnd(44)}${columns.map(text => text.padStart(9)).join('')}${judged[1]}`);
  }
}

/** The element of an ascending list below which this share of it lies. */
export function quantile(sorted: number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

/** The one with the lower median. */
export function lower(one: number[], other: number[]): number[] {
  return median(one) < median(other) ? one : other;
}

function median(sorted: number[]): number {
  return quantile(sorted, 0.5);
}

function ratioOf(value: number[], ceiling: number[]): number {
  return Math.round((median(value) / median(ceiling)) * 1000) / 1000;
}

function rounded(figure: number): string {
  if (figure >= 100) return String(Math.round(figure));
  return figure.toFixed(figure >= 10 ? 1 : 2);
}
