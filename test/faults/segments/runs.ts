import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Operation, Purpose, Type } from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { newBackupId, WAY } from '../../support/writing.ts';
import { Caller, type Scene } from '../caller.ts';

/** Of a run whose log is moved when it has finished. */
export type Log = { backupId: string; finished?: true };

/** Writes the log of one run after another, and finishes each: whatever is acknowledged of these has to stay. */
export async function keepLogs(name: string, scene: Scene, logs: Log[]): Promise<void> {
  const { model, dice, stop } = scene;
  const caller = new Caller(name, scene, dice.below(2));
  while (!stop.aborted) {
    const log: Log = { backupId: await begin(caller) };
    logs.push(log);
    for (let call = 2 + dice.below(6); call > 0; call--) {
      const messages = Array.from({ length: 12 }, (_, n) => `${log.backupId} call ${call} line ${n} ${'x'.repeat(40)}`);
      model.trying(log.backupId, messages);
      const entries = messages.map(message => ({ level: LogLevel.INFO, message }));
      const request = { backupId: log.backupId, entries, requestId: dice.chance(0.5) ? randomUUID() : '' };
      const send = () => caller.once((replica, options) => replica.logs.appendLogs(request, options));
      let answer = await send();
      while (!answer && request.requestId) answer = await send();
      if (answer) model.kept(messages, answer.value.firstId);
    }
    await finish(caller, log.backupId);
    log.finished = true;
    await delay(dice.below(400));
  }
}

/** What becomes of a log that is not to stay, while it is moved: its entries grow too old one by one, or somebody removes them. */
const FATES = ['ages', 'is purged', 'is deleted'] as const;

/** How old entries may become by LOG_RETENTION, in seconds. */
export const OLD = 86_400;

/** Writes logs that do not stay. Line n of each says so. */
export async function doomLogs(name: string, scene: Scene, doomed: Map<string, string>): Promise<void> {
  const { dice, stop } = scene;
  const caller = new Caller(name, scene, dice.below(2));
  while (!stop.aborted) {
    const fate = dice.pick(FATES);
    const backupId = await begin(caller);
    doomed.set(backupId, fate);
    const entries = Array.from({ length: 120 }, (_, i) => {
      // The first one is old when the log begins to be moved.
      const millis = Date.now() + (fate === 'ages' ? 1500 + 20 * i - OLD * 1000 : 0);
      const createTime = { seconds: BigInt(Math.floor(millis / 1000)), nanos: (millis % 1000) * 1_000_000 };
      return { level: LogLevel.INFO, message: lineOf(backupId, i + 1), createTime };
    });
    const requestId = randomUUID();
    await caller.ask((replica, options) => replica.logs.appendLogs({ backupId, entries, requestId }, options));
    await finish(caller, backupId);
    await delay(900 + dice.below(800));
    for (let some = dice.below(4); some > 0 && fate === 'is purged'; some--)
      await caller.once(({ logs }, options) => logs.purgeLogs({ backupId, maxEntries: 1 + dice.below(40) }, options));
    if (fate === 'is purged') await caller.ask(({ logs }, options) => logs.purgeLogs({ backupId }, options));
    const deletion = { backupId, requestId: randomUUID() };
    if (fate === 'is deleted')
      await caller.ask(({ controllers }, options) => controllers.deleteController(deletion, options));
  }
}

export function lineOf(backupId: string, n: number): string {
  return `${backupId} line ${n} ${'x'.repeat(40)}`;
}

async function begin(caller: Caller): Promise<string> {
  const run = { backupId: newBackupId(), operation: Operation.BACKUP, type: Type.COURSE, purpose: Purpose.GENERAL };
  const request = { ...run, requestId: randomUUID() };
  await caller.ask(({ controllers }, options) => controllers.createController(request, options));
  return run.backupId;
}

async function finish(caller: Caller, backupId: string): Promise<void> {
  for (const [i, to] of WAY.slice(1).entries()) {
    const request = { backupId, from: WAY[i]!, to, requestId: randomUUID() };
    await caller.ask(({ controllers }, options) => controllers.transitionController(request, options));
  }
}
