import assert from 'node:assert/strict';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type ControllerFilterSchema,
  Operation,
  Purpose,
  Status,
  type SummarizeControllersResponse,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { newBackupId } from '../../support/writing.ts';

type Row = {
  status: number;
  operation?: 'backup' | 'restore';
  purpose?: number;
  userId?: number;
  execution?: number;
  /** Seconds from now. */
  startsIn?: number;
  createdIn?: number;
  endedIn?: number;
  took?: number;
  outcome?: number;
  /** Milliseconds from now. */
  leasedFor?: number;
};

const statuses = [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000];

describe('ControllerService.SummarizeControllers', () => {
  let backend: Backend;
  beforeEach(async () => {
    backend = await startBackend();
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  const summarize = (filter?: MessageInitShape<typeof ControllerFilterSchema>) =>
    backend.controllers.summarizeControllers(filter ? { filter } : {});

  it('gives zeros, and no times, when there is nothing', async () => {
    const summary = await summarize();
    assert.deepEqual(countsOf(summary), {
      total: 0n,
      statuses: statuses.map(() => 0n),
      operations: [0n, 0n],
      purposes: {},
    });
    const { queueDepth, running, leased, expiredLeases, oldestDueTime, lastSuccessTime, durations } = summary;
    assert.deepEqual([queueDepth, running, leased, expiredLeases], [0n, 0n, 0n, 0n]);
    assert.deepEqual([oldestDueTime, lastSuccessTime], [undefined, undefined]);
    assert.deepEqual([durations!.count, durations!.p50, durations!.p95], [0n, undefined, undefined]);
    assert.deepEqual(
      summary.statuses.map(({ status }) => status),
      statuses,
    );
    assert.deepEqual(
      summary.operations.map(({ operation }) => operation),
      [Operation.BACKUP, Operation.RESTORE],
    );
  });

  it('counts by status, operation and purpose, with a filter or without', async () => {
    const rows = Array.from({ length: 500 }, (_, i) => ({
      status: statuses[(i * i) % 10]!,
      operation: i % 3 ? ('backup' as const) : ('restore' as const),
      purpose: [10, 70, 50, 777][i % 4]!,
      userId: i % 5,
    }));
    await put(...rows);
    const filters: [MessageInitShape<typeof ControllerFilterSchema> | undefined, (row: (typeof rows)[0]) => boolean][] =
      [
        [undefined, () => true],
        [{ userId: 3n }, row => row.userId === 3],
        [
          { operation: Operation.RESTORE, purposes: [Purpose.AUTOMATED, 777 as Purpose] },
          row => row.operation === 'restore' && (row.purpose === 50 || row.purpose === 777),
        ],
        [{ statuses: [Status.AWAITING, Status.FINISHED_OK] }, row => row.status === 700 || row.status === 1000],
        [{ userId: 99n }, () => false],
      ];
    for (const [filter, matches] of filters) {
      const matching = rows.filter(matches);
      const count = (which: (row: (typeof rows)[0]) => boolean) => BigInt(matching.filter(which).length);
      const purposes = [...new Set(matching.map(row => row.purpose))].sort((a, b) => a - b);
      const summary = await summarize(filter);
      assert.deepEqual(countsOf(summary), {
        total: BigInt(matching.length),
        statuses: statuses.map(status => count(row => row.status === status)),
        operations: [count(row => row.operation === 'backup'), count(row => row.operation === 'restore')],
        purposes: Object.fromEntries(purposes.map(purpose => [purpose, count(row => row.purpose === purpose)])),
      });
      assert.deepEqual(
        summary.purposes.map(({ purpose }) => purpose),
        purposes,
      );
    }
  });

  it('says what could be claimed now, and since when the longest due of it is due', async () => {
    await put(
      { status: 700, createdIn: -500 },
      { status: 700, createdIn: -900, startsIn: -300 },
      { status: 700, createdIn: -400, startsIn: -800 },
      { status: 700, createdIn: -1000, startsIn: 3600 },
      { status: 700, createdIn: -1000, execution: 1 },
      { status: 600, createdIn: -1000 },
    );
    const summary = await summarize();
    assert.equal(summary.queueDepth, 3n);
    const [row] = await backend.database.query(
      'select created_at from backup_controllers where created_at > executiontime and execution = 2 and status = 700 order by 1 limit 1',
    );
    assert.equal(String(summary.oldestDueTime!.seconds), row!['created_at']);
    await backend.database.query(
      'update backup_controllers set executiontime = created_at + 100000 where status = 700',
    );
    const none = await summarize();
    assert.deepEqual([none.queueDepth, none.oldestDueTime], [0n, undefined]);
  });

  it('says how many are running, held by a worker, and held for too long', async () => {
    await put(
      { status: 800 },
      { status: 800, leasedFor: 60_000 },
      { status: 800, leasedFor: 60_000 },
      { status: 800, leasedFor: -1 },
      { status: 700 },
    );
    const { running, leased, expiredLeases } = await summarize();
    assert.deepEqual({ running, leased, expiredLeases }, { running: 4n, leased: 3n, expiredLeases: 1n });
  });

  it('says when the last run succeeded', async () => {
    await put(
      { status: 1000, endedIn: -500, outcome: 1 },
      { status: 1000, endedIn: -300, outcome: 2 },
      { status: 1000 },
      { status: 900, endedIn: -100, outcome: 3 },
    );
    const [row] = await backend.database.query('select max(endedat) as at from backup_controllers where status = 1000');
    assert.equal(String((await summarize()).lastSuccessTime!.seconds), row!['at']);
    assert.equal((await summarize({ statuses: [Status.FINISHED_ERR] })).lastSuccessTime, undefined);
  });

  it('tells how long the successful runs of the last day took', async () => {
    const ended = (took: number, more: Partial<Row> = {}) => ({
      status: 1000,
      endedIn: -60,
      took,
      outcome: 1,
      ...more,
    });
    await put(...Array.from({ length: 100 }, (_, i) => ended(i + 1, { outcome: 1 + (i % 2) })));
    await put(
      ended(5000, { endedIn: -25 * 3600 }),
      ended(5000, { status: 900, outcome: 3 }),
      ended(5000, { status: 900, outcome: 4 }),
      { status: 1000, endedIn: -60, outcome: 1 }, // never was EXECUTING
      { status: 1000, endedIn: -60, took: 5000, outcome: 0 }, // from before the books
    );
    const { durations } = await summarize();
    assert.deepEqual([durations!.count, durations!.p50?.seconds, durations!.p95?.seconds], [100n, 50n, 95n]);
    await put(ended(70, { endedIn: -23 * 3600 - 3500, userId: 5 }));
    const own = await summarize({ userId: 5n });
    assert.deepEqual([own.durations!.count, own.durations!.p50?.seconds, own.durations!.p95?.seconds], [1n, 70n, 70n]);
  });

  it('counts runs that ended at the start of the window and not those at its end', async () => {
    await put(...[1, 2, 3].map(took => ({ status: 1000, endedIn: -60, took, outcome: 1 })));
    const place =
      'update backup_controllers set endedat = 1000 * (endedat - startedat), startedat = 999 * (endedat - startedat)';
    await backend.database.query(place);
    const counted = async (start?: number, end?: number, nanos = 0) => {
      const at = (seconds: number) => ({ seconds: BigInt(seconds), nanos });
      const window = { ...(start !== undefined && { start: at(start) }), ...(end !== undefined && { end: at(end) }) };
      return (await backend.controllers.summarizeControllers({ window })).durations!.count;
    };
    assert.equal(await counted(1000, 3000), 2n);
    assert.equal(await counted(1000, 3001), 3n);
    assert.equal(await counted(1001, 3000), 1n);
    assert.equal(await counted(3000, undefined, 1), 0n);
    assert.equal(await counted(undefined, 1000, 1), 1n);
    assert.equal(await counted(2000), 2n);
    assert.equal(await counted(undefined, 2000), 1n);
    assert.equal(await counted(), 3n);
    assert.equal((await summarize()).durations!.count, 0n);
  });

  it('is of one moment', async () => {
    let done = false;
    const writing = async () => {
      while (!done) await put({ status: 1000, endedIn: -1, took: 1, outcome: 1 });
    };
    const reading = async () => {
      for (let i = 0; i < 40; i++) {
        const { total, durations } = await summarize();
        assert.equal(durations!.count, total);
      }
    };
    await Promise.all([
      writing(),
      reading().finally(() => {
        done = true;
      }),
    ]);
  });

  /** Writes controllers by SQL. */
  async function put(...rows: Row[]): Promise<void> {
    const given = rows.map(row => ({
      backupid: newBackupId(),
      operation: 'backup',
      purpose: 10,
      userId: 1,
      execution: 2,
      ...row,
    }));
    await backend.database.query(
      `insert into backup_controllers (backupid, operation, type, itemid, format, interactive, purpose, userid, status, execution,
         executiontime, created_at, updated_at, leasetoken, leaseexpires, startedat, endedat, outcome)
       select backupid, operation, 'course', 1, 'moodle2', 0, purpose, "userId", status, execution, coalesce(now + "startsIn", 0),
         now + coalesce("createdIn", 0), now, case when "leasedFor" is not null then gen_random_uuid() end,
         coalesce(now * 1000 + "leasedFor", 0), coalesce(now + "endedIn" - took, 0), coalesce(now + "endedIn", 0), coalesce(outcome, 0)
       from jsonb_to_recordset($1) as given (backupid text, operation text, purpose int, "userId" int, status int, execution int,
         "startsIn" bigint, "createdIn" bigint, "endedIn" bigint, took bigint, outcome int, "leasedFor" bigint),
         (select floor(extract(epoch from now()))::bigint as now) clock`,
      [JSON.stringify(given)],
    );
  }
});

function countsOf({ total, ...summary }: SummarizeControllersResponse) {
  return {
    total,
    statuses: summary.statuses.map(({ count }) => count),
    operations: summary.operations.map(({ count }) => count),
    purposes: Object.fromEntries(summary.purposes.map(({ purpose, count }) => [purpose, count])),
  };
}
