import { strict as assert } from 'node:assert';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Purpose, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { startBackupctl } from '../../support/running-backupctl.ts';
import { newBackupId } from '../../support/writing.ts';

describe('backupctl controllers', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend();
  });
  after(() => backend[Symbol.asyncDispose]());

  it('creates a run, whose id is all that it prints, and gets it', async () => {
    const created = await ctl([
      'create',
      '--operation',
      'backup',
      '--course',
      '42',
      '--user',
      '7',
      '--purpose',
      'async',
    ]);
    const backupId = created.out.trim();
    const { controller } = await backend.controllers.getController({ backupId });
    assert.deepEqual(
      [controller!.itemId, controller!.userId, controller!.purpose, controller!.status],
      [42n, 7n, Purpose.ASYNC, Status.CREATED],
    );
    const got = await ctl(['get', backupId]);
    assert.match(got.out, /^run +backup course 42$/m);
    assert.match(got.out, /^status +CREATED$/m);
    assert.equal(JSON.parse((await ctl(['get', backupId, '-o', 'json'])).out).itemId, '42');
    assert.match((await ctl(['get', backupId, '-o', 'yaml'])).out, /^itemId: "42"$/m);
    await ctl(['get', newBackupId()], 3);
    await ctl(['create', '--operation', 'backup', '--course', '42', '--backup-id', backupId], 4);
  });

  it('lists what matches, page by page, up to the limit', async () => {
    const ids: string[] = [];
    for (let i = 0; i < 4; i++)
      ids.unshift(await created({ itemId: 4711n, status: i % 2 ? Status.AWAITING : Status.CREATED }));
    const list = async (...args: string[]) => {
      const { out } = await ctl(['list', '--course', '4711', '-o', 'json', ...args]);
      return JSON.parse(out).controllers?.map(({ backupId }: { backupId: string }) => backupId) ?? [];
    };
    assert.deepEqual(await list(), ids);
    assert.deepEqual(await list('--oldest-first', '--limit', '3'), ids.toReversed().slice(0, 3));
    assert.deepEqual(await list('--status', 'awaiting,executing', '--limit', 'all'), [ids[0], ids[2]]);
    assert.deepEqual(await list('--purpose', 'automated'), []);
    const { out, err } = await ctl(['list', '--course', '4711', '--limit', '1']);
    assert.match(out, new RegExp(`^BACKUP +RUN .*\\n${ids[0]}  backup course 4711  async +AWAITING .*\\n$`));
    assert.match(err, /there are more than 1/);
  });

  it('cancels and retries runs, all that can be, and says with 4 that one could not', async () => {
    const [idle, other] = [await created({}), await created({})];
    const { out } = await ctl(['cancel', idle, '--reason', 'maintenance']);
    assert.match(out, new RegExp(`^${idle}  backup course 1  CANCELLED\n$`));
    const { entries } = await backend.logs.listLogs({ backupId: idle });
    assert.ok(entries.some(({ message }) => message.includes('maintenance')));
    const both = await ctl(['cancel', idle, other], 4);
    assert.match(both.out, new RegExp(`^${other}  .*CANCELLED\n$`));
    assert.match(both.err, /CONTROLLER_FINISHED/);
    assert.match((await ctl(['retry', idle])).out, /AWAITING\n$/);
    await ctl(['retry', other, '--at', '2099-01-01T00:00:00Z']);
    const { controller } = await backend.controllers.getController({ backupId: other });
    assert.equal(controller!.executionTime!.seconds, BigInt(Date.UTC(2099, 0) / 1000));
  });

  it('says which worker was asked to stop', async () => {
    const purpose = 901 as Purpose;
    const backupId = await created({ purpose, execution: 2 });
    await backend.controllers.claimControllers({ worker: 'night shift', filter: { purposes: [purpose] } });
    const { out } = await ctl(['cancel', backupId]);
    assert.equal(out, `${backupId}  backup course 1  EXECUTING, night shift was asked to stop\n`);
  });

  it('uploads and downloads a payload, from and to files and pipes', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'backupctl-'));
    const [from, to] = [join(folder, 'from'), join(folder, 'to')];
    const payload = randomBytes(3_000_000);
    await writeFile(from, payload);
    const backupId = await created({});
    const up = await ctl(['payload', 'upload', backupId, from]);
    assert.match(up.err, /^-- uploaded 2.9 MiB in /);
    await ctl(['payload', 'download', backupId, to]);
    assert.ok(payload.equals(await readFile(to)));
    await ctl(['payload', 'download', backupId, to], 2);
    await ctl(['payload', 'download', backupId, to, '--force']);
    const md5 = createHash('md5').update(payload).digest('hex');
    const piped = await shell(`$BACKUPCTL controllers payload download ${backupId} | md5sum`);
    assert.equal(piped.trim(), `${md5}  -`);
    await shell(`head -c 100000 ${from} | $BACKUPCTL controllers payload upload ${backupId}`);
    assert.equal(await shell(`$BACKUPCTL controllers payload download ${backupId} - | wc -c`), '100000\n');
    await ctl(['payload', 'download', newBackupId(), join(folder, 'none')], 3);
    // Neither what is not complete nor what failed is left.
    assert.deepEqual((await readdir(folder)).sort(), ['from', 'to']);
    await rm(folder, { recursive: true });
  });

  it('lists and counts entries of logs', async () => {
    const backupId = await created({ itemId: 815n });
    const entries = Array.from(
      { length: 1500 },
      (_, i) => ({ level: i % 100 ? 40 : 20, message: `line ${i}` }) as const,
    );
    for (const half of [entries.slice(0, 800), entries.slice(800)])
      await backend.logs.appendLogs({ backupId, entries: half });
    const list = async (...args: string[]) => (await logs(['list', ...args, '--no-time'])).out.split('\n').slice(0, -1);
    assert.deepEqual((await list(backupId, '--limit', 'all')).length, 1500);
    assert.deepEqual(await list(backupId, '--newest-first', '--limit', '2'), ['INFO  line 1499', 'INFO  line 1498']);
    assert.equal((await list(backupId, '--level', 'error')).length, 15);
    assert.deepEqual(await list('--course', '815', '--text', 'LINE 1234'), [`${backupId.slice(0, 8)} INFO  line 1234`]);
    assert.deepEqual(await list(backupId, '--until', '1h'), []);
    assert.equal((await list(backupId, '--since', '1h', '--limit', '5')).length, 5);
    const { out } = await logs(['list', backupId, '--limit', '1', '-o', 'json']);
    assert.equal(JSON.parse(out).message, 'line 0');
    const summary = await logs(['summary', backupId]);
    assert.match(summary.out, /^ERROR +15\nWARNING +0\nINFO +1485\nDEBUG +0\nall +1500\n\nin 1 log, from /m);
    await logs(['list'], 2);
    await logs(['summary', backupId, '--course', '815'], 2);
  });

  const ctl = (args: string[], code = 0) => ended(['controllers', ...args], code);
  const logs = (args: string[], code = 0) => ended(['logs', ...args], code);

  async function ended(args: string[], code: number): Promise<{ out: string; err: string }> {
    await using command = startBackupctl(backend.address, args);
    assert.equal(await command.exit(), code, `${args.join(' ')}: ${command.err()}`);
    return { out: command.out(), err: command.err() };
  }

  async function shell(script: string): Promise<string> {
    await using command = startBackupctl(backend.address, [], { shell: script });
    assert.equal(await command.exit(), 0, command.err());
    return command.out();
  }

  async function created(given: object): Promise<string> {
    const usual = { operation: 1, type: 3, itemId: 1n, purpose: Purpose.ASYNC, status: Status.AWAITING } as const;
    const { controller } = await backend.controllers.createController({ ...usual, ...given });
    return controller!.backupId;
  }
});
