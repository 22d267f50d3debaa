import { strict as assert } from 'node:assert';
import { Outcome } from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { ask, pageOf, withPage } from '../../support/page.ts';
import { claimOne, course, finish } from '../automation/automation.ts';
import { insert } from '../course/rows.ts';

describe('The course report of the status page', () => {
  let backend: Backend;
  beforeEach(async () => {
    backend = await startBackend({ settings: withPage });
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  it('shows what needs attention first, page by page, every course once', async () => {
    // None says that it is running: nobody runs them, and the service would put that right meanwhile.
    const columns = ['0', '4', '3', '6', '5', '1'];
    const rows = Array.from({ length: 91 }, (_, i) => ({
      courseId: BigInt(1000 + i),
      status: columns[(i * 5) % 6]!,
      start: BigInt(10_000 + i),
      end: BigInt(20_000 + i),
      next: BigInt(30_000 + i),
    }));
    await insert(backend.database, rows);
    const seen: string[] = [];
    const sizes: number[] = [];
    for (let path: string | undefined = '/'; path; ) {
      const { status, text } = await ask(pageOf(backend), path);
      assert.equal(status, 200);
      const ids = [...text.matchAll(/scope="row">(\d+)</g)].map(([, id]) => id!);
      seen.push(...ids);
      sizes.push(ids.length);
      path = /id="next-page" href="([^"]+)"/.exec(text)?.[1]?.replaceAll('&#38;', '&');
    }
    assert.deepEqual(sizes, [25, 25, 25, 16]);
    const of = (column: string) =>
      rows.filter(({ status }) => status === column).map(({ courseId }) => String(courseId));
    // Of errors and warnings the latest first, of all others what is to start next.
    const latest = (column: string) => of(column).reverse();
    const wanted = [latest('0'), latest('4'), of('3'), of('6'), of('5'), of('1')].flat();
    assert.deepEqual(seen, wanted);
  });

  it('shows one status by its name, and all statuses with their counts', async () => {
    await insert(backend.database, [
      { courseId: 1n, status: '0' },
      { courseId: 2n, status: '1' },
      { courseId: 3n, status: '1' },
    ]);
    const { text } = await ask(pageOf(backend), '/?status=ok');
    assert.deepEqual(
      [...text.matchAll(/scope="row">(\d+)</g)].map(([, id]) => id),
      ['2', '3'],
    );
    const chips = [...text.matchAll(/<a id="chip-([\w-]+)"[^>]*>[^<]*<b>(\d+)<\/b>/g)].map(([, name, count]) => [
      name,
      count,
    ]);
    assert.deepEqual(Object.fromEntries(chips), {
      all: '3',
      error: '1',
      warning: '0',
      skipped: '0',
      running: '0',
      queued: '0',
      'not-yet-run': '0',
      ok: '2',
    });
    assert.match(text, /id="chip-ok"[^>]* aria-current="true"/);
    assert.match((await ask(pageOf(backend), '/?status=queued')).text, /No course has this status/);
  });

  it('tells of the last run: when, how long, what it logged, and where its log is', async () => {
    const courseId = await course(backend);
    const claimed = await claimOne(backend, courseId);
    const { backupId } = claimed.controller!;
    const entries = [LogLevel.ERROR, LogLevel.WARNING, LogLevel.WARNING].map(level => ({ level, message: 'x' }));
    await backend.logs.appendLogs({ backupId, leaseToken: claimed.leaseToken, entries });
    await finish(backend, claimed, { outcome: Outcome.SUCCEEDED_WITH_WARNINGS });
    const { text } = await ask(pageOf(backend), '/');
    const [status, ended, took, ...rest] = cellsOf(text, courseId);
    assert.equal(status, 'Warning');
    assert.match(ended!, /^\d+ s ago$/);
    assert.match(took!, /^\d+ s$/);
    assert.deepEqual(rest, ['1', '2', 'None', 'Log']);
    assert.ok(text.includes(`data-backup="${backupId}"`));
  });

  it('counts in the head what runs, waits, is lost, due and failed', async () => {
    const first = await course(backend);
    await claimOne(backend, first);
    await course(backend);
    await insert(backend.database, [{ courseId: 4711n, status: '0', end: 5n }]);
    const { text } = await ask(pageOf(backend), '/');
    assert.deepEqual(figuresOf(text), {
      Running: '1',
      Queue: '0',
      Lost: '0',
      'Courses due': '1',
      'Courses failed': '1',
    });
    assert.match(text, /Oldest due for \d+ d/);
  });

  it('asks the database once for all who look at the same time', async () => {
    await insert(backend.database, [{ courseId: 1n, status: '1' }]);
    await Promise.all(Array.from({ length: 20 }, () => ask(pageOf(backend), '/')));
    await insert(backend.database, [{ courseId: 2n, status: '1' }]);
    // What was asked for just now is told, and two seconds later what is.
    assert.equal(figuresAll((await ask(pageOf(backend), '/')).text), '1');
    await eventually(async () => assert.equal(figuresAll((await ask(pageOf(backend), '/')).text), '2'));
  });
});

/** The cells of a course's row behind its number. */
function cellsOf(text: string, courseId: bigint): string[] {
  const row = text.split('<tr role="row">').find(one => one.includes(`scope="row">${courseId}<`))!;
  return [...row.matchAll(/<td[^>]*>(.*?)<\/td>/gs)].map(([, cell]) => cell!.replace(/<[^>]+>/g, ''));
}

function figuresOf(text: string): Record<string, string> {
  const found = text.matchAll(/<dt>([^<]+)<\/dt><dd>([^<]+)<\/dd>/g);
  return Object.fromEntries([...found].map(([, name, value]) => [name!, value!]));
}

function figuresAll(text: string): string | undefined {
  return /id="chip-all"[^>]*>All <b>(\d+)</.exec(text)?.[1];
}
