import { strict as assert } from 'node:assert';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServiceError } from '@grpc/grpc-js';
import { type LogEntry, LogOrder } from '../../../src/gen/backup/v1/log_pb.ts';
import { isPassing } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { Caller, type Scene } from '../caller.ts';
import { type Log, lineOf } from './runs.ts';

/** Reads whole logs, those that are written, moved, and were moved, by lists and by tails, and compares with what was acknowledged. */
export async function readLogs(name: string, scene: Scene, logs: Log[]): Promise<void> {
  const { model, dice, stop } = scene;
  const caller = new Caller(name, scene, dice.below(2));
  while (!stop.aborted) {
    const log = await oneOf(logs, scene);
    if (!log) continue;
    const begun = performance.now();
    model.read(log.backupId, await readOne(caller, scene, log.backupId), begun);
    model.seen(name, begun);
  }
}

/** Reads logs that are removed at the same time: what is told of them is theirs, in order and not twice. */
export async function readDoomed(name: string, scene: Scene, doomed: Map<string, string>): Promise<void> {
  const caller = new Caller(name, scene, scene.dice.below(2));
  while (!scene.stop.aborted) {
    const backupId = await oneOf([...doomed.keys()].slice(-5), scene);
    if (!backupId) continue;
    const begun = performance.now();
    const read = await readOne(caller, scene, backupId);
    for (const [i, { id, message }] of read.entries()) {
      assert.equal(message, lineOf(backupId, Number(id)));
      assert.ok(i === 0 || id > read[i - 1]!.id, `${id} of ${backupId} was told after ${read[i - 1]?.id}`);
    }
    scene.model.seen(name, begun);
  }
}

function readOne(caller: Caller, scene: Scene, backupId: string): Promise<{ id: bigint; message: string }[]> {
  return scene.dice.chance(0.5) ? listed(caller, scene, backupId) : tailed(scene, backupId);
}

/** All pages, each asked for again when it was not answered, of whichever replica. */
export async function listed(caller: Caller, { dice }: Scene, backupId: string): Promise<LogEntry[]> {
  const order = dice.pick([LogOrder.UNSPECIFIED, LogOrder.NEWEST_FIRST]);
  const pageSize = 5 + dice.below(100);
  const entries: LogEntry[] = [];
  for (let pageToken = ''; ; ) {
    const request = { backupId, order, pageSize, pageToken };
    const page = await caller.ask((replica, options) => replica.logs.listLogs(request, options));
    entries.push(...page.entries);
    pageToken = page.nextPageToken;
    if (!pageToken) return order === LogOrder.NEWEST_FIRST ? entries.reverse() : entries;
  }
}

/** All that is there, told by as many streams as it takes. */
export async function tailed(
  { replicas, dice, passes = isPassing }: Scene,
  backupId: string,
): Promise<{ id: bigint; message: string }[]> {
  let turn = dice.below(replicas.length);
  const next = () => replicas[turn++ % replicas.length]!;
  for (let tail = new Subscriber(next(), { backupIds: [backupId] }); ; ) {
    const error: ServiceError | undefined = await tail.done;
    if (!error) return tail.history.entries;
    if (!passes(error)) throw error;
    await delay(20 + dice.below(50));
    const { history, request } = tail;
    tail = history.token ? tail.resume(next()) : new Subscriber(next(), request, history);
  }
}

async function oneOf<T>(some: T[], { dice }: Scene): Promise<T | undefined> {
  await delay(dice.below(40));
  return some.length > 0 ? dice.pick(some) : undefined;
}
