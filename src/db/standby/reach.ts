import { setTimeout as delay } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import { sqlOn } from '../sql.ts';
import { type Lack, lackOf, type Mark, type Position, readPosition } from './position.ts';

/** Waits a moment for a server to come to a mark; an error when it does not. */
export async function reach(client: PoolClient, mark: Mark): Promise<Position> {
  const end = performance.now() + REACH_MS;
  for (let pause = 1; ; pause *= 2) {
    const position = await readPosition(sqlOn(client));
    const lack = lackOf(position, mark);
    if (!lack) return position;
    if (lack !== 'BEHIND' || performance.now() + pause > end) throw new Lacking(lack, position);
    await delay(pause);
  }
}

/** A server is not what a read needs. */
export class Lacking extends Error {
  override readonly name = 'Lacking';
  readonly lack: Lack;
  readonly position: Position;

  constructor(lack: Lack, position: Position) {
    super(`not to be read from: ${lack}`);
    this.lack = lack;
    this.position = position;
  }
}

/** How long a read waits for what it must find. A standby that streams has it within milliseconds. */
const REACH_MS = 250;
