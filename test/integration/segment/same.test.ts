import assert from 'node:assert/strict';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Operation, Purpose } from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import {
  type ListLogsRequestSchema,
  LogOrder,
  type SummarizeLogsRequestSchema,
  type TailLogsRequestSchema,
} from '../../../src/gen/backup/v1/log_pb.ts';
import { type Backend, type Replica, startBackend, startReplica } from '../../support/backend.ts';
import { Dice } from '../../support/dice.ts';
import { finish, newBackup, newBackupId } from '../../support/writing.ts';
import { eager, type Folder, moveAll, newFolder, silence } from './moving.ts';

const QUESTIONS = Number(process.env['SEGMENT_QUESTIONS'] ?? 120);
const seed = Number(process.env['SEGMENT_SEED'] ?? Math.trunc(Math.random() * 2 ** 32));

const levels = [LogLevel.ERROR, LogLevel.WARNING, LogLevel.INFO, LogLevel.DEBUG] as const;
const words = [
  'Kurs',
  'gesichert',
  'Übung',
  'STRASSE',
  'straße',
  'ÏÎ',
  'İstanbul',
  '100%',
  'a_b',
  'back\\slash',
  'Kelvin K',
  '日本',
  '',
];

type Question =
  | { ask: 'list'; request: MessageInitShape<typeof ListLogsRequestSchema> }
  | { ask: 'summarize'; request: MessageInitShape<typeof SummarizeLogsRequestSchema> }
  | { ask: 'tail'; request: MessageInitShape<typeof TailLogsRequestSchema> };

describe(`Logs that have left the table, with SEGMENT_SEED=${seed},`, () => {
  const dice = new Dice(seed);
  let folder: Folder;
  let backend: Backend;
  let logs: string[];
  let times: number[];
  before(async () => {
    folder = newFolder();
    backend = await startBackend({ settings: { SEGMENT_STORE: folder.store } });
    logs = [];
    times = [];
    // Whatever chance makes of the others, there are logs that move and tails that give tokens.
    for (let i = 0; i < 4; i++) logs.push(await writeFinished());
    for (let i = 0; i < 6; i++) logs.push(await write());
    // All of it was appended an hour ago: what a tail takes for new does not hang on how long the questions take.
    await silence(backend.database);
    await backend.database.query(
      'update backup_logs set appended_micros = coalesce(appended_micros, created_at * 1000000 + created_nanos / 1000) - 3600000000',
    );
  });
  after(async () => {
    await backend[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  /** A log by chance: most are finished, and some have entries behind their seal. */
  async function write(): Promise<string> {
    const backupId = dice.chance(0.9) ? await newBackup(backend) : newBackupId();
    const count = dice.pick([0, 1, 2, 5, 40, 120, 300, 700]);
    const timed = dice.chance(0.6);
    await append(backupId, count, timed);
    if (await exists(backupId)) {
      if (dice.chance(0.9)) await finish(backend, backupId);
      if (dice.chance(0.4)) await append(backupId, dice.pick([1, 3, 50]), timed);
    }
    return backupId;
  }

  async function writeFinished(): Promise<string> {
    const backupId = await newBackup(backend);
    await append(backupId, 300, true);
    await finish(backend, backupId);
    return backupId;
  }

  const exists = async (backupId: string) =>
    (await backend.database.query('select from backup_controllers where backupid = $1', [backupId])).length > 0;

  async function append(backupId: string, count: number, timed: boolean): Promise<void> {
    const entries = Array.from({ length: count }, () => {
      const seconds = 1_700_000_000 + dice.below(5000);
      times.push(seconds);
      const length = dice.chance(0.02) ? dice.pick([3000, 5000, 30_000]) : dice.below(60);
      const message = `${dice.pick(words)} ${dice.pick(words)} ${'x'.repeat(length)}`;
      const createTime = { seconds: BigInt(seconds), nanos: dice.pick([0, 1, 999_999_999]) };
      return { level: dice.pick(levels), message, ...(timed && dice.chance(0.8) && { createTime }) };
    });
    for (let at = 0; at < count; at += 200) {
      await backend.logs.appendLogs({ backupId, entries: entries.slice(at, at + 200) });
    }
  }

  const time = () => ({ seconds: BigInt(dice.pick([...times.slice(0, 50), 1_700_002_500])), nanos: dice.pick([0, 1]) });
  const window = () => (dice.chance(0.5) ? { start: time() } : { end: time() });
  const which = () => {
    const filter = { operation: Operation.BACKUP, ...(dice.chance(0.3) && { purposes: [Purpose.GENERAL] }) };
    return dice.chance(0.8) ? { backupId: dice.pick(logs) } : { filter };
  };

  function question(): Question {
    const kind = dice.below(10);
    const maxLevel = dice.chance(0.5) ? { maxLevel: dice.pick(levels) } : {};
    if (kind < 4) {
      const request = {
        ...which(),
        ...maxLevel,
        ...(dice.chance(0.3) && { window: window() }),
        ...(dice.chance(0.3) && { text: dice.pick([...words, 'ü', 'STRAß', 'i', 'k', 'xx', 'no such text']) }),
        ...(dice.chance(0.5) && { order: LogOrder.NEWEST_FIRST }),
        pageSize: dice.pick([17, 100, 1000]),
      };
      return { ask: 'list', request };
    }
    if (kind < 5) return { ask: 'summarize', request: { ...which(), ...(dice.chance(0.6) && { window: window() }) } };
    const wide = dice.chance(0.2);
    const afterId = { case: 'afterId', value: BigInt(dice.below(400)) } as const;
    const start = dice.pick([
      undefined,
      { case: 'last', value: dice.pick([0, 1, 10, 200, 1_000_000]) } as const,
      { case: 'since', value: time() } as const,
      ...(wide ? [] : [afterId]),
    ]);
    const backupIds = start?.case === 'afterId' ? [dice.pick(logs)] : [...new Set([dice.pick(logs), dice.pick(logs)])];
    const target = wide ? (dice.chance(0.5) ? { everything: true } : { filter: {} }) : { backupIds };
    return { ask: 'tail', request: { ...target, ...maxLevel, ...(start && { start }) } };
  }

  const tokens: { request: MessageInitShape<typeof TailLogsRequestSchema>; token: string }[] = [];

  async function answer(replica: Pick<Replica, 'logs'>, { ask, request }: Question, keep = false): Promise<unknown> {
    if (ask === 'summarize') {
      const { $typeName, ...summary } = await replica.logs.summarizeLogs(request);
      return summary;
    }
    if (ask === 'list') {
      const all = [];
      for (let pageToken = ''; ; ) {
        const page = await replica.logs.listLogs({ ...request, pageToken });
        all.push(...page.entries);
        pageToken = page.nextPageToken;
        if (!pageToken) return all;
      }
    }
    const told = new Map<string, unknown[]>();
    const add = (backupId: string, ...what: unknown[]) => told.set(backupId, [...(told.get(backupId) ?? []), ...what]);
    let count = 0;
    try {
      for await (const { event } of replica.logs.tailLogs(request)) {
        if (event.case === 'truncated') add(event.value.backupId, event);
        if (event.case !== 'entries') continue;
        add(event.value.backupId, ...event.value.entries);
        count += event.value.entries.length;
        const token = event.value.resumeToken;
        const first = count === event.value.entries.length;
        if (keep && token && (first || dice.chance(0.3))) tokens.push({ request, token });
      }
    } catch (error) {
      return (error as Error).message;
    }
    return told;
  }

  it('answer every question as before, to the last byte, and every token goes on', async () => {
    const certain = logs.slice(0, 4).map((id): Question => ({ ask: 'tail', request: { backupIds: [id] } }));
    const questions = [...certain, ...Array.from({ length: QUESTIONS }, question)];
    const before: unknown[] = [];
    for (const one of questions) before.push(await answer(backend, one, true));
    const resumed: unknown[] = [];
    const goOn = (replica: Pick<Replica, 'logs'>, { request, token }: (typeof tokens)[number]) => {
      const start = { case: 'resumeToken', value: token } as const;
      return answer(replica, { ask: 'tail', request: { ...request, start } });
    };
    for (const one of tokens) resumed.push(await goOn(backend, one));
    const rows = async () => Number((await backend.database.query('select count(*) from backup_logs'))[0]!['count']);
    const rowsBefore = await rows();

    await moveAll(backend.database, eager(folder.store));
    assert.ok((await rows()) < rowsBefore && folder.objects().length >= 4, `${folder.objects().length} objects`);
    await using other = await startReplica(backend.database.url, { SEGMENT_STORE: folder.store });
    for (const [i, one] of questions.entries()) {
      const now = await answer(dice.chance(0.5) ? backend : other, one);
      assert.deepEqual(
        now,
        before[i],
        `${one.ask} ${JSON.stringify(one.request, (_, v) => (typeof v === 'bigint' ? `${v}` : v))}`,
      );
    }
    assert.ok(tokens.length >= 4, `${tokens.length} tokens`);
    for (const [i, one] of tokens.entries()) {
      assert.deepEqual(await goOn(dice.chance(0.5) ? backend : other, one), resumed[i]);
    }
  });
});
