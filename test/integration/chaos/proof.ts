import { strict as assert } from 'node:assert';
import { Outcome, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import type { Database } from '../../support/database.ts';
import type { Told, WorkerRecord } from '../../support/record.ts';

/** What became of all runs, in numbers. */
export type Figures = { claims: number; finishes: number; losses: number; refusals: number; givenBack: number };

type Of<W extends Told['what']> = Extract<WorkerRecord, { what: W }>;

type Entry = { id: number; level: number; attempt: number; message: string; millis: number };

type Row = {
  backupid: string;
  status: number;
  outcome: number;
  attempt: number;
  lostattempts: number;
  maxattempts: number;
  progress: number;
  leased: boolean;
  sealedid: number;
  lastid: number;
  entries: Entry[];
};

/**
 * Fails unless every run of a format has ended once and was never written by two workers at a time: for every run, what the workers were told must fit
 * with each other and with what the database holds.
 */
export async function prove(
  database: Pick<Database, 'query'>,
  records: WorkerRecord[],
  killed: ReadonlySet<string>,
  format = 'moodle2',
): Promise<Figures> {
  const byRun = Map.groupBy(records, ({ backupId }) => backupId);
  const tokens = records.filter(of('claim')).map(({ token }) => token);
  assert.equal(new Set(tokens).size, tokens.length, 'a token was given twice');
  const runs = (await database.query(RUNS, [format])) as Row[];
  const givenBack = runs.map(run => {
    try {
      return proveRun(run, byRun.get(run.backupid) ?? [], killed);
    } catch (error) {
      console.error(run, byRun.get(run.backupid));
      throw error;
    }
  });
  return {
    claims: tokens.length,
    finishes: runs.filter(({ outcome }) => outcome !== Outcome.LOST).length,
    losses: runs.reduce((sum, { lostattempts }) => sum + lostattempts, 0),
    refusals: records.filter(of('lost')).length,
    givenBack: givenBack.reduce((sum, n) => sum + n, 0),
  };
}

/** Returns how many attempts left no trace: the service has taken them back because whoever claimed was gone. */
function proveRun(run: Row, records: WorkerRecord[], killed: ReadonlySet<string>): number {
  const { entries } = run;
  assert.ok(run.status === Status.FINISHED_OK || run.status === Status.FINISHED_ERR, 'it is forgotten');
  assert.ok(!run.leased);
  assert.deepEqual(
    entries.map(({ id }) => id),
    Array.from({ length: run.lastid }, (_, i) => i + 1),
    'its log has gaps',
  );
  assert.equal(run.sealedid, run.lastid, 'something was written after its end');
  const attempts = entries.map(({ attempt }) => attempt);
  assert.deepEqual(
    attempts,
    attempts.toSorted((a, b) => a - b),
    'an older attempt has written after a newer one',
  );
  assert.ok(records.every(({ attempt }) => attempt >= 1 && attempt <= run.attempt));
  assert.ok(attempts.every(attempt => attempt >= 1 && attempt <= run.attempt));
  proveEnd(run, records);
  let before = 0;
  let untold = 0;
  for (let attempt = 1; attempt <= run.attempt; attempt++) {
    const written = entries.filter(entry => entry.attempt === attempt);
    const told = records.filter(record => record.attempt === attempt);
    const end = proveAttempt(written, told, killed, before);
    before = end ?? before;
    if (told.length === 0 && end === undefined) untold++;
  }
  return untold;
}

function proveEnd(run: Row, records: WorkerRecord[]): void {
  const { entries } = run;
  const ends = entries.filter(({ message }) => message.endsWith(' ends'));
  const losses = entries.filter(isLoss);
  const told = records.filter(of('finish'));
  assert.equal(losses.length, run.lostattempts, 'losses that the log does not tell');
  if (run.outcome === Outcome.LOST) {
    assert.equal(run.status, Status.FINISHED_ERR);
    assert.equal(run.lostattempts, run.maxattempts);
    assert.deepEqual([ends, told], [[], []], 'it is lost and finished');
    assert.ok(isLoss(entries.at(-1)!), 'the log does not end with the loss');
    return;
  }
  const failed = run.outcome === Outcome.FAILED;
  assert.ok(failed || run.outcome === Outcome.SUCCEEDED || run.outcome === Outcome.SUCCEEDED_WITH_WARNINGS);
  assert.equal(run.status, failed ? Status.FINISHED_ERR : Status.FINISHED_OK);
  assert.ok(run.lostattempts < run.maxattempts, 'it went on with no attempts left');
  assert.deepEqual(
    ends.map(({ id, attempt }) => ({ id, attempt })),
    [{ id: failed ? run.lastid - 1 : run.lastid, attempt: run.attempt }],
    'it has not finished once',
  );
  if (!failed) assert.equal(run.progress, 1);
  assert.ok(told.length <= 1, 'two workers were told that they have finished it');
  for (const { attempt, outcome, sealedId } of told) {
    assert.deepEqual([attempt, outcome, sealedId], [run.attempt, run.outcome, run.sealedid]);
  }
}

/** Returns when it was lost; undefined when it was not. `before` is when the last one was lost that came before it. */
function proveAttempt(
  entries: Entry[],
  records: WorkerRecord[],
  killed: ReadonlySet<string>,
  before: number,
): number | undefined {
  const claims = records.filter(of('claim'));
  assert.ok(claims.length <= 1, 'two workers got the same attempt');
  const [claim] = claims;
  assert.ok(records.every(record => record === claim || record.worker === claim?.worker));
  for (const { firstId, lastId } of records.filter(of('append'))) {
    for (let id = firstId; id <= lastId; id++) {
      assert.ok(
        entries.some(entry => entry.id === id),
        `entry ${id} was answered and is not there`,
      );
    }
  }
  const lines = entries.filter(entry => !isLoss(entry));
  const authors = new Set(lines.map(({ message }) => message.split(' ', 3).join(' ')));
  if (lines.length > 0) {
    assert.equal(authors.size, 1, 'two workers have written for one attempt');
    if (claim) assert.deepEqual([...authors], [`${claim.worker} attempt ${claim.attempt}`]);
  }
  if (claim) assert.ok(claim.acquired >= before, 'it was given away before it was lost');
  const losses = entries.filter(isLoss);
  if (losses.length === 0) return undefined;
  const [loss] = losses;
  assert.ok(losses.length === 1 && loss === entries.at(-1), 'something was written after the loss');
  if (claim) assert.ok(loss!.message.startsWith(`Lost: ${claim.worker} had held`), 'somebody else was lost');
  const promised = records.flatMap(record => ('expires' in record ? record.expires : []));
  assert.ok(
    promised.every(expires => expires < loss!.millis),
    'it was taken away before the time that was promised',
  );
  assert.ok(!records.some(({ what }) => what === 'finish' || what === 'release'), 'it is lost and given back');
  const told = records.some(({ what }) => what === 'lost' || what === 'unknown');
  if (claim && !killed.has(claim.worker)) assert.ok(told, `${claim.worker} was not told that it has lost it`);
  return loss!.millis;
}

function isLoss({ level, message }: Entry): boolean {
  return level === 20 && message.startsWith('Lost: ');
}

function of<W extends Told['what']>(what: W): (record: WorkerRecord) => record is Of<W> {
  return (record): record is Of<W> => record.what === what;
}

const RUNS = `
  select c.backupid, c.status, c.outcome, c.attempt, c.lostattempts, c.maxattempts, c.progress::float as progress,
         c.leasetoken is not null as leased, h.sealedid::int as sealedid, h.lastid::int as lastid,
         l.entries
  from backup_controllers c left join backup_log_heads h on h.backupid = c.backupid left join (
    select backupid, json_agg(json_build_object('id', id, 'level', loglevel, 'attempt', attempt, 'message', message,
                                                'millis', created_at * 1000 + created_nanos / 1000000) order by id) as entries
    from backup_logs group by backupid
  ) l on l.backupid = c.backupid
  where c.format = $1`;
