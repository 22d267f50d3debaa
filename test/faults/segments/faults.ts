import { strict as assert } from 'node:assert';
import { setTimeout as delay } from 'node:timers/promises';
import type { Dice } from '../../support/dice.ts';
import { away, failing, heldUntil, late, silent, slow, truncating } from '../../support/mishaps.ts';
import type { Mishap, StoreWay } from '../../support/store-way.ts';
import { RECOVERY_MS } from '../cast.ts';
import { FAULTS } from '../faults.ts';
import type { House } from '../house.ts';

/** The way to the store that each replica of the house has. */
export type Place = { house: House; ways: StoreWay[]; dice: Dice };

type Fault = (place: Place) => Promise<void>;

/** What can go wrong while logs are moved, by name. */
export const MOVING_FAULTS: Record<string, Fault> = {
  'replica SIGKILL': amid('replica SIGKILL'),
  'replica SIGTERM': amid('replica SIGTERM'),
  'PostgreSQL SIGKILL': amid('PostgreSQL SIGKILL'),
  'PostgreSQL backend SIGKILL': amid('PostgreSQL backend SIGKILL'),
  'database half-open': amid('database half-open'),
  'store away': during(() => away),
  'store slow': during(slow),
  'store errors': during(failing),
  'store truncates': during(truncating),
  // Who waits for it gives up after ten seconds.
  'store silent': during(() => silent),
  async 'store writes late'(place) {
    await during(dice => late(() => delay(dice.below(4000))))(place);
    await Promise.all(place.ways.map(way => way.arrived()));
  },
  // As when a replica stands still between what it has announced and what it writes.
  async 'writing outlasts its announcement'({ house, ways, dice }) {
    const released = Promise.withResolvers<void>();
    const way = dice.pick(ways);
    way.mishap = heldUntil(released.promise);
    try {
      await soon(way.writing());
      await outlasted(house, dice);
    } finally {
      released.resolve();
      way.mishap = undefined;
    }
  },
  // Then several replicas move the same log, and remove what others have just written.
  'announcements are outlasted': ({ house, dice }) => outlasted(house, dice),
};

/** Objects that were announced to be written, or are to be removed some day, are due. */
export async function timePasses(house: House): Promise<void> {
  await house.database.query('update backup_segment_removals set due_at = 0');
}

/** For a while no announcement holds for long. */
async function outlasted(house: House, dice: Dice): Promise<void> {
  for (const end = performance.now() + 1500 + dice.below(2500); performance.now() < end; ) {
    await timePasses(house);
    await delay(dice.below(100));
  }
}

/** A fault that hits while an object is being written, read back, or made part of a log. */
function amid(kind: string): Fault {
  return async ({ house, ways, dice }) => {
    const i = dice.below(ways.length);
    await soon(ways[i]!.writing());
    await delay(dice.below(30));
    await FAULTS[kind]!({ house, disk: undefined, dice }, house.replicas[i]!);
  };
}

/** Something that goes wrong with every request to the store for a while, of one replica or of all. */
function during(mishap: (dice: Dice) => Mishap): Fault {
  return async ({ ways, dice }) => {
    const some = dice.chance(0.5) ? ways : [dice.pick(ways)];
    for (const way of some) way.mishap = mishap(dice);
    await delay(1500 + dice.below(2500));
    for (const way of some) way.mishap = undefined;
  };
}

async function soon(event: Promise<void>): Promise<void> {
  const late = new AbortController();
  const patience = delay(RECOVERY_MS, undefined, late).then(() => assert.fail('no object is written'));
  await Promise.race([event, patience]).finally(() => late.abort());
}
