import { randomUUID } from 'node:crypto';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { Caller, type Scene } from '../caller.ts';

/** Appends three lines at a time, half of them with a request id until they are kept, and the others once: they may be kept or not, but never twice. */
export async function appendLines(name: string, scene: Scene, backupId: string): Promise<void> {
  const { model, dice, stop } = scene;
  const caller = new Caller(name, scene, dice.below(2));
  for (let i = 0; !stop.aborted; i++) {
    const messages = [0, 1, 2].map(n => `${name} call ${i} line ${n}`);
    const entries = messages.map(message => ({ level: LogLevel.INFO, message }));
    model.trying(backupId, messages);
    const requestId = dice.chance(0.5) ? randomUUID() : '';
    const send = () =>
      caller.once((replica, options) => replica.logs.appendLogs({ backupId, entries, requestId }, options));
    let answer = await send();
    while (!answer && requestId) answer = await send();
    if (answer) model.kept(messages, answer.value.firstId);
  }
}
