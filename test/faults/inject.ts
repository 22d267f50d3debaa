import { setTimeout as delay } from 'node:timers/promises';
import type { Dice } from '../support/dice.ts';

/** The same seed makes the same faults in the same order; when they hit is up to the machine. */
export const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

/** How long faults are injected; without it, each kind once. */
export const minutes = Number(process.env['FAULT_MINUTES'] ?? 0);

/** How long it took until everybody was served again, in milliseconds, by kind of fault. */
export type Injected = Map<string, number[]>;

/** Injects faults of these kinds (or of those that FAULT_KINDS names), one after another; `recovered` waits after each, and says how long. */
export async function inject(
  kinds: string[],
  dice: Dice,
  { hit, recovered }: { hit(kind: string): Promise<void>; recovered(): Promise<number> },
): Promise<Injected> {
  const wanted = process.env['FAULT_KINDS']?.split(',') ?? kinds;
  const chosen = kinds.filter(kind => wanted.includes(kind));
  const injected: Injected = new Map();
  const end = performance.now() + minutes * 60_000;
  for (let left = shuffled(chosen, dice); left.length > 0; ) {
    const kind = left.pop()!;
    try {
      await hit(kind);
      injected.set(kind, [...(injected.get(kind) ?? []), Math.round(await recovered())]);
    } catch (error) {
      throw new Error(`after ${kind}: ${(error as Error).message}`, { cause: error });
    }
    await delay(dice.below(300));
    if (left.length === 0 && performance.now() < end) left = shuffled(chosen, dice);
  }
  return injected;
}

/** Prints what became of it, and returns how many faults there were. */
export function tell(injected: Injected, outcome: object): number {
  const times = [...injected.values()].flat().toSorted((a, b) => a - b);
  const recovery = { p50: times[Math.floor(times.length / 2)], max: times.at(-1) };
  console.log(`      ${JSON.stringify({ seed, faults: times.length, recoveryMs: recovery, ...outcome })}`);
  for (const [kind, ms] of injected)
    console.log(`      ${kind}: ${ms.length}, recovered after ${Math.max(...ms)} ms at most`);
  return times.length;
}

function shuffled<T>(all: T[], dice: Dice): T[] {
  const left = [...all];
  return all.map(() => left.splice(dice.below(left.length), 1)[0]!);
}
