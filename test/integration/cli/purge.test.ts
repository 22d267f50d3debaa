import { strict as assert } from 'node:assert';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { Operation, Purpose, Type } from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { backupctl } from '../../support/backupctl.ts';
import { eventually } from '../../support/eventually.ts';
import { repository } from '../../support/process.ts';

describe('backupctl purge', () => {
  // A process for every command, and several processors' worth of other tests beside it.
  let backend: Backend;
  let ids: string[];
  const run = (...args: string[]) => backupctl(['purge', ...args], { BACKUPCTL_ADDRESS: backend.address });
  const left = async () => (await backend.controllers.listControllers({})).controllers.length;

  beforeEach(async () => {
    backend = await startBackend();
    ids = [];
    for (let i = 0; i < 3; i++) {
      const backup = { operation: Operation.BACKUP, type: Type.COURSE, purpose: Purpose.GENERAL };
      const { backupId } = (await backend.controllers.createController(backup)).controller!;
      await backend.logs.appendLogs({ backupId, entries: Array(2).fill({ level: LogLevel.INFO, message: 'x' }) });
      ids.push(backupId);
    }
    const { controllers } = backend;
    for (const backupId of ids.slice(0, 2)) await controllers.cancelController({ backupId });
    await backend.database.query(
      'update backup_controllers set created_at = created_at - 90000, updated_at = updated_at - 90000',
    );
    await backend.database.query('update backup_logs set created_at = created_at - 90000');
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  it('deletes nothing in a dry run, nor where nobody can be asked', async () => {
    const dry = await run('controllers', '--older-than', '1d', '--dry-run');
    assert.equal(dry.code, 0, dry.stderr);
    assert.match(
      dry.stdout,
      /^nothing was deleted; 2 controllers and \d+ log entries would go, of these backups first:\n( {2}[0-9a-f]{32}\n){2}$/,
    );
    const asked = await run('controllers', '--older-than', '1d');
    assert.deepEqual([asked.code, asked.stdout], [2, '']);
    assert.match(asked.stderr, /^error: nobody can be asked here, and nothing was deleted\nhint: --yes does it/);
    assert.equal((await run('controllers', '--older-than', '1d', '--dry-run', '--yes')).code, 2);
    assert.equal((await run('controllers')).code, 2);
    assert.equal((await run('logs')).code, 2);
    assert.equal(await left(), 3);
  });

  it('deletes runs by age and status, with yes', async () => {
    const done = await run('controllers', '--older-than', '1d', '--yes');
    assert.match(done.stdout, /^deleted 2 controllers and \d+ log entries\n$/);
    assert.equal(await left(), 1);
    const young = await run('controllers', '--older-than', '2d', '--status', 'created', '--yes');
    assert.match(young.stdout, /^nothing was deleted; 0 controllers and 0 log entries would go\n$/);
    const created = await run('controllers', '--older-than', '1d', '--status', 'CREATED', '--yes', '-o', 'json');
    assert.equal(JSON.parse(created.stdout).controllers, '1');
    assert.equal(await left(), 0);
  });

  it('deletes log entries by age, or all of one log', async () => {
    const one = await run('logs', ids[0]!, '--yes');
    assert.match(one.stdout, /^removed \d entries of 1 log\n$/);
    const all = await run('logs', '--older-than', '1d', '--yes');
    assert.match(all.stdout, /^removed \d+ entries of 2 logs\n$/);
    const { total } = await backend.logs.summarizeLogs({ filter: {} });
    assert.equal(total, 0n);
    assert.equal(await left(), 3);
  });

  it('asks on a terminal, and nothing but yes is one', async function () {
    if (spawnSync('script', ['--version']).error) this.skip();
    for (const [answer, kept] of [
      ['n', 3],
      ['', 3],
      ['y', 1],
    ] as const) {
      const command = `node src/cli/backupctl.ts purge controllers --older-than 1d --address ${backend.address}`;
      const child = spawn('script', ['-qec', command, '/dev/null'], { cwd: repository });
      let said = '';
      child.stdout.on('data', (data: Buffer) => {
        said += data;
      });
      await eventually(() => assert.match(said, /Delete 2 controllers and \d+ log entries\? \[y\/N\] /));
      child.stdin.write(`${answer}\n`);
      const [code] = await once(child, 'close');
      assert.equal(code, 0, said);
      assert.match(said, answer === 'y' ? /\ndeleted 2 controllers/ : /\nnothing was deleted/);
      assert.equal(await left(), kept);
    }
  });
});
