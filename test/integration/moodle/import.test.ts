import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../../../src/db/embedded.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { TailEnd_Reason } from '../../../src/gen/backup/v1/log_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { createDatabase, createEmptyDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { hasMariadb, startMariadb } from '../../support/mariadb.ts';
import {
  backupId,
  controller,
  createTables,
  fill,
  importing,
  log,
  type Moodle,
  openMysqlMoodle,
  openPostgresMoodle,
  startImport,
} from './moodle.ts';

const postgres = async (stack: AsyncDisposableStack) =>
  stack.use(await openPostgresMoodle(stack.use(await createEmptyDatabase()).url));
const mariadb = async (stack: AsyncDisposableStack) =>
  stack.use(await openMysqlMoodle(stack.use(await startMariadb()).url));

for (const [name, open] of [
  ['PostgreSQL', postgres],
  ['MariaDB', mariadb],
] as const) {
  describe(`An import from a Moodle on ${name}`, () => {
    let stack: AsyncDisposableStack;
    let moodle: Moodle;
    let backend: Backend;
    before(function () {
      if (open === mariadb && !hasMariadb) {
        console.log('      MariaDB is not installed here: these tests are left out');
        this.skip();
      }
    });
    beforeEach(async () => {
      await using opening = new AsyncDisposableStack();
      // Courses that say they run, and are from before, are put right otherwise.
      backend = opening.use(await startBackend({ settings: { SWEEP_INTERVAL: '1h' } }));
      moodle = await open(opening);
      stack = opening.move();
    });
    afterEach(() => stack?.disposeAsync());

    const into = (...more: string[]) => ['--from', moodle.url, '--to', backend.database.url, ...more];
    const run = async (...more: string[]) => {
      const { code, out, err } = await importing(into('--json', ...more));
      assert.equal(err, '');
      const tallies = JSON.parse(out) as {
        table: string;
        source: number;
        imported: number;
        there: number;
        refused: object[];
      }[];
      return {
        code,
        tallies: tallies.map(({ table, source, imported, there, refused }) => [
          table.slice(7),
          source,
          imported,
          there,
          refused.length,
        ]),
      };
    };
    const logOf = async (id: string) => {
      const rows = await backend.database.query(
        'select id::int, message from backup_logs where backupid = $1 order by id',
        [id],
      );
      return rows.map(row => [row['id'], row['message']]);
    };
    const expectedLog = (i: number, lines = 200, controllers = 20) =>
      Array.from({ length: lines }, (_, n) => n + 1)
        .filter(n => 1 + (n % controllers) === i)
        .map((n, k) => [k + 1, `line ${n}`]);

    it('brings in every row with all its columns, and numbers the entries of each log in their order', async () => {
      await createTables(moodle);
      await fill(moodle);
      const { code, tallies } = await run();
      assert.deepEqual(tallies, [
        ['courses', 10, 10, 0, 0],
        ['controllers', 20, 20, 0, 0],
        ['logs', 200, 200, 0, 0],
      ]);
      assert.equal(code, 0);
      const [row] = await backend.database.query(
        `select id::int, backupid, operation, type, itemid::int, format, interactive, purpose, userid::int, status, execution, executiontime::int, checksum,
           progress, created_at::int, updated_at::int, controller, revision, attempt, outcome from backup_controllers where backupid = $1`,
        [backupId(4)],
      );
      assert.deepEqual(Object.values(row!), [
        12,
        backupId(4),
        'backup',
        'course',
        4,
        'moodle2',
        0,
        50,
        2,
        900,
        1,
        0,
        'c'.repeat(32),
        '0.12345678901234',
        1_500_000_004,
        0,
        'T2JqZWN0',
        1,
        0,
        0,
      ]);
      const courses = await backend.database.query(
        'select id::int, courseid::int, laststarttime::int, lastendtime::int, laststatus, nextstarttime from backup_courses order by 1',
      );
      assert.deepEqual(Object.values(courses[1]!), [52, 1002, 20, 40, '2', '4000000002']);
      for (let i = 1; i <= 20; i++) assert.deepEqual(await logOf(backupId(i)), expectedLog(i));
      const [entry] = await backend.database.query(
        'select loglevel, created_at::int from backup_logs where backupid = $1 and id = 1',
        [backupId(2)],
      );
      assert.deepEqual(Object.values(entry!), [50, 1_600_000_007]);
    });

    it('gives logs that a tail reads to its end', async () => {
      await createTables(moodle);
      await fill(moodle);
      await run();
      for (const id of [backupId(3), backupId(4)]) {
        const seen: string[] = [];
        let reason: TailEnd_Reason | undefined;
        for await (const { event } of backend.logs.tailLogs({ backupIds: [id], follow: true, untilFinished: true })) {
          if (event.case === 'entries') seen.push(...event.value.entries.map(({ message }) => message));
          if (event.case === 'end') reason = event.value.reason;
        }
        assert.deepEqual([reason, seen.length], [TailEnd_Reason.SEALED, 10]);
      }
      await controller(moodle, 21);
      await run();
      let last: unknown;
      for await (const { event } of backend.logs.tailLogs({
        backupIds: [backupId(21)],
        untilFinished: true,
        follow: true,
      }))
        last = event.case;
      assert.equal(last, 'end', 'one that has no entries, too');
    });

    it('may be repeated: what is there stays as it is, and only what is new comes', async () => {
      await createTables(moodle);
      await fill(moodle);
      await run();
      await backend.logs.appendLogs({
        backupId: backupId(3),
        entries: [{ level: LogLevel.INFO, message: 'from the service' }],
      });
      await backend.database.query('update backup_controllers set userid = 77 where backupid = $1', [backupId(3)]);
      assert.deepEqual(
        (await run()).tallies.map(([, , ...rest]) => rest),
        [
          [0, 10, 0],
          [0, 20, 0],
          [0, 200, 0],
        ],
      );
      await log(moodle, 10_000, backupId(3), 'late');
      await controller(moodle, 33);
      const { code, tallies } = await run();
      assert.deepEqual([code, ...tallies.map(([, , ...rest]) => rest)], [0, [0, 10, 0], [1, 20, 0], [1, 200, 0]]);
      assert.deepEqual((await logOf(backupId(3))).slice(-2), [
        [11, 'from the service'],
        [12, 'late'],
      ]);
      const [kept] = await backend.database.query('select userid::int from backup_controllers where backupid = $1', [
        backupId(3),
      ]);
      assert.equal(kept!['userid'], 77);
      const { controller: made } = await backend.controllers.createController({ operation: 1, type: 3, purpose: 10 });
      assert.ok(made!.id > 99n, `${made!.id} is behind those that have come`);
    });

    it('may be killed at any moment and run again, also twice at once: nothing is missing and nothing double', async () => {
      await createTables(moodle);
      await fill(moodle, { logs: 3000 });
      for (let i = 0; i < 3; i++) {
        const before = Number((await backend.database.query('select count(*)::int as n from backup_logs'))[0]!['n']);
        const { child } = startImport(into('--batch-size', '50'));
        await eventually(async () => {
          const [row] = await backend.database.query('select count(*)::int as n from backup_logs');
          assert.ok(Number(row!['n']) >= Math.min(3000, before + 300), String(row!['n']));
        });
        child.kill('SIGKILL');
        await once(child, 'close');
      }
      const both = await Promise.all([run('--batch-size', '100'), run('--batch-size', '70')]);
      assert.deepEqual(
        both.map(({ code }) => code),
        [0, 0],
      );
      for (let i = 1; i <= 20; i++) assert.deepEqual(await logOf(backupId(i)), expectedLog(i, 3000));
    });

    it('keeps odd rows as they are, and refuses alone what the service cannot hold', async () => {
      await createTables(moodle);
      await fill(moodle);
      await controller(moodle, 41, { type: '', purpose: 12_345 });
      await controller(moodle, 42, { status: 850 });
      await controller(moodle, 43, { operation: 'delete' });
      await controller(moodle, 44, { progress: '9.5' });
      await controller(moodle, 45, {
        controller: 'x'.repeat(3_000_000).slice(0, name === 'MariaDB' ? 60_000 : 3_000_000),
      });
      await log(moodle, 9000, backupId(999), 'nobody knows this backup');
      await log(moodle, 9001, backupId(999), 'größer ✓ 😀');
      if (name === 'MariaDB') await log(moodle, 9002, backupId(999), 'a\0b');
      const { code, out } = await importing(into());
      assert.equal(code, 1);
      assert.match(out, /backup_controllers +25 +22 +22 +0 +3\n/);
      for (const id of [126, 129, 132]) assert.match(out, new RegExp(`row ${id} was refused: .*check constraint`));
      const [odd] = await backend.database.query('select type, purpose from backup_controllers where backupid = $1', [
        backupId(41),
      ]);
      assert.deepEqual(odd, { type: '', purpose: 12_345 });
      assert.deepEqual(
        (await logOf(backupId(999))).map(([, message]) => message),
        ['nobody knows this backup', 'größer ✓ 😀', ...(name === 'MariaDB' ? ['a\ufffdb'] : [])],
      );
      if (name === 'MariaDB') assert.match(out, /backup_logs: 1 texts with NUL/);
    });

    it('takes tables with any prefix, or none', async () => {
      await createTables(moodle, '');
      await fill(moodle, {}, '');
      assert.equal((await run('--prefix', '')).code, 0);
    });

    it('says in one line what is wrong with a source', async () => {
      await createTables(moodle);
      const wrong = async (from: string, ...more: string[]) => {
        const { code, out, err } = await importing(['--from', from, '--to', backend.database.url, ...more]);
        assert.deepEqual([code, out, err.trimEnd().split('\n').length], [1, '', 1], err);
        return err;
      };
      assert.match(
        await wrong(moodle.url, '--prefix', 'm_'),
        /^the source has no table m_backup_courses: is --prefix right\?/,
      );
      assert.match(await wrong(moodle.url, '--prefix', 'x"; drop'), /^the prefix may have/);
      assert.match(await wrong(moodle.url.replace(/:\d+\//, ':1/')), /^the source cannot be opened: /);
      assert.match(await wrong('oracle://x/y'), /^the source must be a URL/);
      const { code, err } = await importing(['--to', backend.database.url]);
      assert.equal(code, 2);
      assert.match(err, /required option '--from <url>'/);
    });
  });
}

describe('An import that does not say where to', () => {
  it('goes to DATABASE_URL, or into the embedded database, unless the service has it', async () => {
    await using stack = new AsyncDisposableStack();
    const moodle = await postgres(stack);
    await createTables(moodle);
    await fill(moodle);
    const target = stack.use(await createDatabase());
    assert.equal((await importing(['--from', moodle.url], { DATABASE_URL: target.url })).code, 0);
    const [{ n } = {}] = await target.query('select count(*)::int as n from backup_logs');
    assert.equal(n, 200);

    const folder = mkdtempSync(join(tmpdir(), 'import-'));
    stack.defer(() => rmSync(folder, { recursive: true }));
    const embedded = { DATABASE_URL: undefined, DATA_DIR: join(folder, 'postgres') };
    assert.match((await importing(['--from', moodle.url], embedded)).out, /backup_logs +200 +200 +200 +0 +0/);
    await using _running = await startEmbeddedPostgres({ dataDir: embedded.DATA_DIR, durable: false });
    const { code, err } = await importing(['--from', moodle.url], embedded);
    assert.equal(code, 1);
    assert.match(err, /^the import has failed: .*postgres/);
  });
});
