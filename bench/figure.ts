/** One line of the result. */
export type Figure = {
  name: string;
  value: number;
  unit: string;
  /** What it is measured against, in the same unit and run. */
  ceiling: number;
  ratio: number;
  goal: number;
  met: boolean;
};

/** Something whose speed is measured: how many per second. */
export type Contestant = { name: string; run(): Promise<number> };

/** Lets contestants run in turn, and returns the rates of each in ascending order. */
export async function alternate(contestants: Contestant[], rounds: number): Promise<Map<string, number[]>> {
  const rates = new Map<string, number[]>(contestants.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    // Each starts a round once in a while: whoever comes first finds the machine differently from whoever comes last.
    const order = contestants.map((_, i) => contestants[(i + round) % contestants.length]!);
    for (const { name, run } of order) rates.get(name)!.push(await run());
  }
  for (const [name, all] of rates) {
    all.sort((a, b) => a - b);
    console.log(`  ${name.padEnd(40)} ${rounded(median(all)).padStart(9)}/s   (${all.map(rounded).join(' ')})`);
  }
  return rates;
}

/** What a rate is worth against another one. */
export function compare(name: string, value: number[], ceiling: number[], goal: number): Figure {
  const ratio = Math.round((median(value) / median(ceiling)) * 1000) / 1000;
  return { name, value: median(value), unit: '1/s', ceiling: median(ceiling), ratio, goal, met: ratio >= goal };
}

export function print(figures: Figure[]): void {
  console.log('\n                                            value    ceiling   ratio    goal');
  for (const { name, value, ceiling, ratio, goal, met } of figures) {
    const columns = [rounded(value), rounded(ceiling), ratio.toFixed(2), goal.toFixed(2)];
    console.log(`${name.padEnd(40)}${columns.map(text => text.padStart(9)).join('')}  ${met ? 'met' : 'MISSED'}`);
  }
}

function median(sorted: number[]): number {
  return sorted[Math.floor(sorted.length / 2)]!;
}

function rounded(rate: number): string {
  return rate >= 100 ? String(Math.round(rate)) : rate.toFixed(1);
}
