import { setTimeout as delay } from 'node:timers/promises';
import type { Dice } from './dice.ts';
import type { Mishap } from './store-way.ts';

/** A store that cannot be reached. */
export const away: Mishap = async (_, { breakOff }) => breakOff();

/** One that never answers. */
export const silent: Mishap = async () => {};

export const slow =
  (dice: Dice): Mishap =>
  async (_, { pass, answer }) => {
    await delay(dice.below(1500));
    answer(await pass());
  };

/** Answers an error, having done what it was asked or not. */
export const failing =
  (dice: Dice): Mishap =>
  async (_, { pass, answer }) => {
    if (dice.chance(0.5)) await pass();
    const [status, code] = dice.pick(ERRORS);
    const body = Buffer.from(`<?xml version="1.0"?><Error><Code>${code}</Code></Error>`);
    answer({ status, headers: { 'content-type': 'application/xml' }, body });
  };

const ERRORS: [number, string][] = [
  [500, 'InternalError'],
  [503, 'SlowDown'],
  [403, 'AccessDenied'],
  [404, 'NoSuchBucket'],
];

/** Gives back less than it has: with the length that it would have, so that whoever reads sees it, or as if that was all. */
export const truncating =
  (dice: Dice): Mishap =>
  async (_, { pass, answer, breakOff }) => {
    const { status, headers, body } = await pass();
    const part = body.subarray(0, dice.below(body.length));
    if (body.length === 0) answer({ status, headers, body });
    else if (dice.chance(0.5))
      answer({ status, headers: { ...headers, 'content-length': `${part.length}` }, body: part });
    else {
      answer({ status, headers: { ...headers, 'content-length': `${body.length}` }, body: part });
      breakOff();
    }
  };

/** Connections break, and what was to be written arrives when nobody waits for it any more. */
export const late =
  (arrives: () => Promise<unknown>): Mishap =>
  async ({ method }, { pass, answer, breakOff }) => {
    if (method !== 'PUT') return answer(await pass());
    breakOff();
    await arrives();
    await pass();
  };

/** Nothing is written before this resolves. */
export const heldUntil =
  (released: Promise<unknown>): Mishap =>
  async ({ method }, { pass, answer }) => {
    if (method === 'PUT') await released;
    answer(await pass());
  };
