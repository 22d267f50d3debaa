import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { Outcome } from '../../../src/gen/backup/v1/controller_pb.ts';
import type { ClaimedCourse } from '../../../src/gen/backup/v1/course_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { hasChromium, launchBrowser, type Visit, visit } from '../../support/browser.ts';
import { eventually } from '../../support/eventually.ts';
import { pageOf, restart, withPage } from '../../support/page.ts';
import { repository } from '../../support/process.ts';
import { append, newBackupId } from '../../support/writing.ts';
import { claimDue, course, finish } from '../automation/automation.ts';
import { insert } from '../course/rows.ts';

const axe = readFileSync(`${repository}/node_modules/axe-core/axe.min.js`, 'utf8');

describe('The status page in a browser', () => {
  let browser: Browser;
  let backend: Backend;
  let visits: Visit[];
  /** What the browser itself says while the service is away. */
  let expected: RegExp | undefined;
  before(async function () {
    if (!hasChromium) {
      console.log('      Chromium is not installed here: these tests are left out');
      this.skip();
    }
    browser = await launchBrowser();
  });
  after(() => browser?.close());
  beforeEach(async () => {
    visits = [];
    expected = undefined;
    backend = await startBackend({ settings: withPage });
  });
  afterEach(async () => {
    try {
      for (const { page, complaints, requests } of visits) {
        assert.deepEqual(
          complaints.filter(text => !expected?.test(text)),
          [],
        );
        assert.deepEqual([...requests], [new URL(page.url()).origin], 'it has asked others');
      }
    } finally {
      for (const one of visits) await one[Symbol.asyncDispose]();
      await backend[Symbol.asyncDispose]();
    }
  });

  const open = async (path = '/', options: BrowserContextOptions = {}): Promise<Page> => {
    const one = await visit(browser, `http://${pageOf(backend)}${path}`, options);
    visits.push(one);
    if (options.javaScriptEnabled !== false) await live(one.page);
    return one.page;
  };

  it('shows the report as a table: what failed first, its numbers, and the status in words', async () => {
    const [good, bad] = [await course(backend), await course(backend)];
    for (const claimed of await claimDue(backend)) {
      const failed = claimed.course!.courseId === bad;
      const { backupId } = claimed.controller!;
      const entries = [{ level: LogLevel.WARNING, message: 'careful' }];
      await backend.logs.appendLogs({ backupId, leaseToken: claimed.leaseToken, entries });
      await finish(backend, claimed, { outcome: failed ? Outcome.FAILED : Outcome.SUCCEEDED });
    }
    const page = await open();
    const table = page.getByRole('table', { name: 'Course report' });
    const rows = table.getByRole('row');
    assert.equal(await rows.count(), 3);
    assert.equal(await rows.nth(1).getByRole('rowheader').textContent(), String(bad));
    assert.equal(await rows.nth(2).getByRole('rowheader').textContent(), String(good));
    const cells = await rows.nth(1).getByRole('cell').allTextContents();
    assert.equal(cells[0], 'Error');
    // The reason is the last line of its log.
    assert.deepEqual(cells.slice(3, 5), ['1', '1']);
    await page.getByRole('link', { name: /^Error 1/ }).click();
    await eventually(async () => assert.equal(await rows.count(), 2));
    assert.match(page.url(), /\?status=error$/);
    await page.goBack();
    await eventually(async () => assert.equal(await rows.count(), 3));
    await page.getByRole('link', { name: `Log of course ${bad}` }).click();
    const log = page.getByRole('log', { name: 'Log' });
    await log.getByText('the disk is full').waitFor();
    assert.equal(await log.getByText('careful').count(), 1);
  });

  it('reads the report again by itself, and leaves the focus where it is', async () => {
    await insert(backend.database, [{ courseId: 17n, status: '0' }]);
    const page = await open();
    const chip = page.getByRole('link', { name: /^Error/ });
    await chip.focus();
    await insert(backend.database, [{ courseId: 18n, status: '0' }]);
    await page.getByRole('rowheader', { name: '18' }).waitFor();
    assert.equal(await chip.textContent(), 'Error 2');
    assert.equal(await page.evaluate('document.activeElement.id'), 'chip-error');
  });

  it('shows what runs with a progress bar that moves, and how it ends', async () => {
    const courseId = await course(backend);
    const [claimed] = (await claimDue(backend)) as [ClaimedCourse];
    const report = (progress: number) =>
      backend.controllers.reportProgress({
        reports: [{ backupId: claimed.controller!.backupId, leaseToken: claimed.leaseToken, progress }],
      });
    const page = await open();
    const bar = page.getByRole('progressbar', { name: `Backup of course ${courseId}` });
    await bar.waitFor();
    for (const progress of [0.25, 0.6]) {
      await report(progress);
      const value = () => page.evaluate("document.querySelector('progress').value");
      await eventually(async () => assert.equal(await value(), progress));
      await page.getByText(`${progress * 100} %`, { exact: true }).waitFor();
    }
    const list = page.getByRole('list', { name: /^Running now/ });
    assert.equal(await list.getByRole('listitem').count(), 1);
    assert.match((await list.getByRole('listitem').textContent())!, /by w · for \d+ s/);
    await finish(backend, claimed);
    await list.getByText('Succeeded').waitFor();
    await course(backend);
    await claimDue(backend);
    await eventually(async () => assert.equal(await list.getByRole('listitem').count(), 2));
  });

  it('shows a line as soon as it is written, from the level that its reader wants', async () => {
    const page = await open();
    const log = page.getByRole('log', { name: 'Log' });
    const backupId = newBackupId();
    await append(backend, backupId, ['an early error'], LogLevel.ERROR);
    await append(backend, backupId, ['a detail'], LogLevel.DEBUG);
    await log.getByText('a detail').waitFor();
    await page.getByRole('radio', { name: 'Warnings+' }).check({ force: true });
    await log.getByText('an early error').waitFor();
    await append(backend, backupId, ['more details'], LogLevel.DEBUG);
    await append(backend, backupId, ['a late warning'], LogLevel.WARNING);
    await log.getByText('a late warning').waitFor();
    assert.deepEqual(await messages(page), ['an early error', 'a late warning']);
    assert.match(page.url(), /level=warning/);
    const other = newBackupId();
    await append(backend, other, ['of another one'], LogLevel.ERROR);
    await log.getByText('of another one').waitFor();
    await log.getByRole('link', { name: other.slice(0, 8) }).click();
    await page.getByText(`Backup ${other}`).waitFor();
    await log.getByText('of another one').waitFor();
    assert.deepEqual(await messages(page), ['of another one']);
    await page.getByRole('button', { name: 'Show all backups' }).click();
    await eventually(async () => assert.equal((await messages(page)).length, 3));
  });

  it('comes back by itself after a restart, and neither loses nor doubles a line', async () => {
    expected = /net::ERR_|Failed to load resource/;
    const [one, other] = [newBackupId(), newBackupId()];
    let written = 0;
    const write = async (to: Pick<Backend, 'logs'>) => {
      for (const backupId of [one, other]) await append(to, backupId, [`line ${written++}`]);
    };
    await course(backend);
    const [claimed] = (await claimDue(backend, { leaseDuration: { seconds: 600n } })) as [ClaimedCourse];
    const address = pageOf(backend);
    const page = await open();
    const bar = page.getByRole('progressbar');
    await bar.waitFor();
    for (let i = 0; i < 10; i++) await write(backend);
    await page.getByText('line 19', { exact: true }).waitFor();
    let replica = backend.replicas[0]!;
    for (let life = 0; life < 2; life++) {
      await write(replica);
      await replica[Symbol.asyncDispose]();
      await page.getByText('Reconnecting').waitFor();
      replica = await restart(backend, address);
      for (let i = 0; i < 5; i++) await write(replica);
      await live(page);
      await write(replica);
      await page.getByText(`line ${written - 1}`, { exact: true }).waitFor();
    }
    const { backupId } = claimed.controller!;
    await replica.controllers.reportProgress({
      reports: [{ backupId, leaseToken: claimed.leaseToken, progress: 0.5 }],
    });
    await page.getByText('50 %', { exact: true }).waitFor();
    assert.equal(await bar.count(), 1);
    const seen = await messages(page);
    assert.deepEqual(
      seen.toSorted(byNumber),
      Array.from({ length: written }, (_, i) => `line ${i}`),
    );
    await replica[Symbol.asyncDispose]();
  });

  it('shows what people write as text, whatever it looks like', async () => {
    const attacks = [
      '<script>alert(1)</script>',
      '<img src=x onerror=alert(2)>',
      '"><svg onload=alert(3)>',
      '</div></main><h1>Gone</h1>',
      'data: x\nid: y\nevent: refused\n\n',
      '\u202e javascript:alert(4)',
    ];
    const courseId = await course(backend);
    const { claimed } = await backend.courses.claimDueCourses({ worker: attacks[1]!, maxCourses: 10 });
    const { backupId } = claimed[0]!.controller!;
    const page = await open();
    await append(backend, backupId, attacks);
    await page.getByText('javascript:alert(4)').waitFor();
    assert.deepEqual(await messages(page), attacks);
    await page.getByText(`by ${attacks[1]}`).waitFor();
    assert.equal(await page.locator('main script, main h1, main svg, main img').count(), 0);
    assert.equal(await page.locator('.message *').count(), 0);
    await open(`/?status=${encodeURIComponent(attacks[2]!)}&backup=${'0'.repeat(32)}`);
    await page.getByRole('rowheader', { name: String(courseId) }).waitFor();
  });

  it('keeps the last 2,000 lines, follows them, and stops where its reader scrolls up', async () => {
    const page = await open();
    const log = page.getByRole('log', { name: 'Log' });
    const backupId = newBackupId();
    for (let i = 0; i < 5; i++) {
      await append(
        backend,
        backupId,
        Array.from({ length: 1000 }, (_, n) => `line ${i * 1000 + n}`),
      );
    }
    await log.getByText('line 4999', { exact: true }).waitFor();
    await eventually(async () => assert.deepEqual((await messages(page)).length, 2000));
    assert.equal((await messages(page))[0], 'line 3000');
    const distance = async () => {
      const found = await page.evaluate(
        "(() => { const log = document.getElementById('log-lines'); return log.scrollHeight - log.scrollTop - log.clientHeight; })()",
      );
      return found as number;
    };
    await eventually(async () => assert.ok((await distance()) < 2));
    await log.hover();
    await page.mouse.wheel(0, -2000);
    const latest = page.getByRole('button', { name: /^Jump to/ });
    await latest.waitFor();
    const [read] = await inView(page);
    await append(backend, backupId, ['one more', 'and another']);
    await page.getByRole('button', { name: 'Jump to 2 new lines' }).waitFor();
    assert.deepEqual((await inView(page))[0], read, 'what was read has moved');
    await latest.click();
    await eventually(async () => assert.ok((await distance()) < 2));
    await append(backend, backupId, ['the last one']);
    await log.getByText('the last one').waitFor();
    await eventually(async () => assert.ok((await distance()) < 2));
    assert.equal(await latest.isVisible(), false);
  });

  it('is usable by keys alone', async () => {
    await append(backend, newBackupId(), ['x']);
    await insert(backend.database, [{ courseId: 17n, status: '0' }]);
    const page = await open();
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate('document.activeElement.textContent'), 'Skip to the course report');
    const passed = new Set<string>();
    for (let i = 0; i < 25; i++) {
      await page.keyboard.press('Tab');
      passed.add((await page.evaluate("document.activeElement.id || document.activeElement.value || ''")) as string);
    }
    for (const id of ['chip-all', 'chip-error', 'chip-ok', 'debug', 'log-lines'])
      assert.ok(passed.has(id), `${id}: ${[...passed]}`);
    await page.getByRole('radio', { name: 'All' }).focus();
    await page.keyboard.press('ArrowLeft');
    await eventually(() => assert.match(page.url(), /level=info/));
    await page.locator('#chip-error').focus();
    await page.keyboard.press('Enter');
    await eventually(() => assert.match(page.url(), /status=error/));
  });

  it('has nothing that axe finds wrong, dark and light, wide and narrow', async () => {
    // What takes too long on a slow machine is asked for again.
    expected = /503/;
    await insert(
      backend.database,
      ['0', '1', '3', '4', '5', '6'].map((status, i) => ({ courseId: BigInt(i + 100), status, next: 5n })),
    );
    await course(backend);
    const claimed = await claimDue(backend, { maxCourses: 1 });
    assert.equal(claimed.length, 1);
    for (const level of [LogLevel.ERROR, LogLevel.WARNING, LogLevel.INFO, LogLevel.DEBUG]) {
      await append(backend, newBackupId(), ['a line of the log'], level);
    }
    const wide = { width: 1280, height: 900 };
    const narrow = { width: 360, height: 740 };
    for (const options of [
      { colorScheme: 'dark', viewport: wide },
      { colorScheme: 'light', viewport: wide },
      { colorScheme: 'light', viewport: narrow },
      { colorScheme: 'dark', viewport: narrow },
    ] as const) {
      const page = await open('/', options);
      await page.getByRole('progressbar').waitFor();
      await eventually(async () => assert.equal((await messages(page)).length, 4));
      await page.evaluate(axe);
      const { violations } = (await page.evaluate('axe.run()')) as {
        violations: { id: string; nodes: { html: string }[] }[];
      };
      assert.deepEqual(
        violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]),
        [],
      );
      const [content, width] = (await page.evaluate('[document.documentElement.scrollWidth, innerWidth]')) as [
        number,
        number,
      ];
      assert.ok(content <= width, `${content} px on ${width} px`);
    }
  });

  it('shows the report without scripts, too, and leads to its next page', async () => {
    await insert(
      backend.database,
      Array.from({ length: 30 }, (_, i) => ({ courseId: BigInt(i + 1), status: '1' })),
    );
    const page = await open('/', { javaScriptEnabled: false });
    assert.equal(await page.getByRole('rowheader').count(), 25);
    await page.getByRole('link', { name: 'Next page' }).click();
    assert.equal(await page.getByRole('rowheader').count(), 5);
    await page.getByText('Progress is shown live, which needs JavaScript').waitFor();
  });
});

async function live(page: Page): Promise<void> {
  await page.getByRole('status').getByText('Live', { exact: true }).waitFor();
}

function messages(page: Page): Promise<string[]> {
  return page.locator('#log-lines .message').allTextContents();
}

/** What stands in the view of the log, from its first line on. */
async function inView(page: Page): Promise<string[]> {
  const script = `(() => {
    const log = document.getElementById('log-lines').getBoundingClientRect();
    return [...document.querySelectorAll('#log-lines .line')]
      .filter(line => line.getBoundingClientRect().top >= log.top)
      .map(line => line.textContent);
  })()`;
  return (await page.evaluate(script)) as string[];
}

function byNumber(one: string, other: string): number {
  return Number(one.split(' ')[1]) - Number(other.split(' ')[1]);
}
