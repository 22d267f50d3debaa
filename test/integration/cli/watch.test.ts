import { strict as assert } from 'node:assert';
import { Outcome, type Purpose, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { Cable } from '../../support/cable.ts';
import { eventually } from '../../support/eventually.ts';
import { type Backupctl, onTerminal, startBackupctl } from '../../support/running-backupctl.ts';
import { terminalAfter } from '../../support/terminal.ts';

describe('backupctl controllers watch', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend();
  });
  after(() => backend[Symbol.asyncDispose]());

  it('draws a bar for each run that is not finished, with its rate and the time that is left, and the others above', async () => {
    const size = { columns: 100, rows: 24 };
    const [slow, fast] = [await begun(51n), await begun(52n)];
    await using watch = onTerminal(backend.address, ['controllers', 'watch', '--purpose', '951,952,953'], size);
    const screen = () => terminalAfter(watch.out(), size);
    // What was reported before it looked has no rate.
    await shows(watch, screen, [/course 51 /, /course 52 /]);
    await slow.report(0.1);
    await fast.report(0.5);
    await shows(watch, screen, [
      /^\w{8} {2}backup course 51 +███░{27} {2}10 % /,
      /^\w{8} {2}backup course 52 +█{15}░{15} {2}50 % .*%\/min {2}ETA \d+s/,
    ]);
    const late = await begun(53n);
    await shows(watch, screen, [/course 51 /, /course 52 /, /course 53 /]);
    await fast.finish(Outcome.SUCCEEDED);
    await late.finish(Outcome.FAILED);
    await slow.report(0.25);
    await shows(watch, screen, [
      /^\w{8} {2}backup course 52 +✔ succeeded in [\dms ]+$/,
      /^\w{8} {2}backup course 53 +✘ failed after [\dms ]+$/,
      /^\w{8} {2}backup course 51 +███████▌░{22} {2}25 %/,
    ]);
    await slow.finish(Outcome.SUCCEEDED_WITH_WARNINGS);
    await shows(watch, screen, [
      /52 /,
      /53 /,
      /course 51 +✔ succeeded with warnings in/,
      /^no run that is not finished$/,
    ]);
    assert.ok(watch.out().includes('\u001b[32m✔ succeeded') && watch.out().includes('\u001b[31m✘ failed'));
    watch.stdin.write('\u0003');
    assert.equal(await watch.exit(), 130);
    // The terminal is as it was: it has its cursor, and wraps.
    assert.ok(watch.out().lastIndexOf('\u001b[?7h') > watch.out().lastIndexOf('\u001b[?7l'));
    assert.ok(watch.out().lastIndexOf('\u001b[?25h') > watch.out().lastIndexOf('\u001b[?25l'));
  });

  it('draws no more bars than there is room for, and no line that is too long', async () => {
    const size = { columns: 60, rows: 8 };
    const runs = [];
    for (let i = 1; i <= 10; i++) runs.push(await begun(BigInt(i), 954));
    await using watch = onTerminal(backend.address, ['controllers', 'watch', '--purpose', '954'], size);
    const screen = () => terminalAfter(watch.out(), size);
    const five = Array.from({ length: 5 }, (_, i) => new RegExp(`^\\w{8}  backup course ${i + 1} +[░█]`));
    await shows(watch, screen, [...five, /^and 5 more$/]);
    const ended = Array.from({ length: 8 }, (_, i) => new RegExp(`^\\w{8}  backup course ${i + 1} +✔ succeeded`));
    for (const [i, run] of runs.slice(0, 8).entries()) {
      await run.finish(Outcome.SUCCEEDED);
      // Those that end at once are told of in any order.
      await eventually(() => assert.ok(screen().some(line => ended[i]!.test(line))));
    }
    await shows(watch, screen, [...ended, /course 9 /, /course 10 /]);
    assert.ok(screen().every(line => line.length < 60));
  });

  it('ends when the runs have finished that are named, with a line for each change where nothing can be drawn', async () => {
    const [one, two] = [await begun(61n), await begun(62n)];
    const args = ['controllers', 'watch', one.backupId, two.backupId, '--until-finished', '--color', 'never'];
    await using watch = startBackupctl(backend.address, args);
    await eventually(() => assert.match(watch.out(), / backup course 62: EXECUTING 0 %/));
    await one.report(0.5);
    await eventually(() => assert.match(watch.out(), / backup course 61: EXECUTING 50 %/));
    for (let i = 0; i < 5; i++) await one.report(0.5 + i / 1000);
    await one.report(0.6);
    await eventually(() => assert.match(watch.out(), / backup course 61: EXECUTING 60 %/));
    assert.equal(watch.lines().filter(line => line.includes('61: EXECUTING 50 %')).length, 1);
    await two.finish(Outcome.SUCCEEDED);
    await one.finish(Outcome.FAILED);
    assert.equal(await watch.exit(), 7, watch.err());
    assert.match(watch.out(), /^[\d: -]{19} \w{8} backup course 62: ✔ succeeded in [\dms ]+$/m);
    assert.match(watch.out(), /^[\d: -]{19} \w{8} backup course 61: ✘ failed at 60 % after [\dms ]+$/m);
    assert.match(watch.err(), new RegExp(`error: ${one.backupId} did not succeed`));
    await using again = startBackupctl(backend.address, ['controllers', 'watch', two.backupId, '--until-finished']);
    assert.equal(await again.exit(), 0);
  });

  it('goes on where it was when the connection breaks, and tells how runs of a filter ended and that they are gone', async () => {
    await using cable = await Cable.start(new URL(`http://${backend.address}`));
    const [one, two] = [await begun(71n, 955), await begun(72n, 955)];
    const args = ['controllers', 'watch', '--purpose', '955', '-o', 'json'];
    await using watch = startBackupctl(`127.0.0.1:${cable.port}`, args);
    const told = () => watch.lines().map(line => JSON.parse(line));
    await eventually(() => assert.equal(told().length, 2));
    cable.cut();
    await one.finish(Outcome.SUCCEEDED);
    await eventually(() => assert.equal(told().at(-1).outcome, 'OUTCOME_SUCCEEDED'));
    assert.equal(told().at(-1).backupId, one.backupId);
    await backend.controllers.deleteController({ backupId: two.backupId, force: true });
    await eventually(() => assert.deepEqual(told().at(-1), { backupId: two.backupId, removed: true }));
    await eventually(() => assert.match(watch.err(), /-- no connection \(.*\n-- connected again/));
    watch.kill('SIGTERM');
    assert.equal(await watch.exit(), 143);
  });

  it('refuses what makes no sense with 2, and says with 5 that nobody is there', async () => {
    for (const args of [['--until-finished'], ['f'.repeat(32), '--course', '1'], ['--status', 'done']]) {
      await using watch = startBackupctl(backend.address, ['controllers', 'watch', ...args]);
      assert.equal(await watch.exit(), 2, watch.err());
    }
    await using nobody = onTerminal('127.0.0.1:1', ['controllers', 'watch']);
    assert.equal(await nobody.exit(), 5, nobody.out());
    assert.match(nobody.out(), /error: UNAVAILABLE/);
  });

  /** A run that a worker holds. Its purpose, by which no other test claims it, is 900 and its number unless it is given. */
  async function begun(itemId: bigint, purpose = 900 + Number(itemId)) {
    const run = { operation: 1, type: 3, itemId, purpose: purpose as Purpose, execution: 2 } as const;
    await backend.controllers.createController({ ...run, status: Status.AWAITING });
    const filter = { purposes: [run.purpose] };
    const { claimed } = await backend.controllers.claimControllers({
      worker: 'w',
      filter,
      leaseDuration: { seconds: 600n },
    });
    const lease = { backupId: claimed[0]!.controller!.backupId, leaseToken: claimed[0]!.leaseToken };
    return {
      backupId: lease.backupId,
      report: (progress: number) => backend.controllers.reportProgress({ reports: [{ ...lease, progress }] }),
      finish: (outcome: Outcome) => {
        const reason = outcome === Outcome.FAILED ? 'the disk is full' : '';
        return backend.controllers.finishControllers({ finishes: [{ ...lease, outcome, reason }] });
      },
    };
  }
});

/** Waits until the last lines that are not empty are these. */
async function shows(watch: Backupctl, screen: () => string[], lines: RegExp[]): Promise<void> {
  await eventually(() => {
    const shown = screen().filter(line => line !== '');
    assert.equal(shown.length, lines.length, `${shown.join('\n')}\n${watch.err()}`);
    for (const [i, line] of lines.entries()) assert.match(shown[i]!, line, shown.join('\n'));
  });
}
