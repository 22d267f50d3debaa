import { strict as assert } from 'node:assert';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend, startReplica } from '../../support/backend.ts';
import { Cable } from '../../support/cable.ts';
import { createDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { startBackupctl } from '../../support/running-backupctl.ts';
import { newBackupId } from '../../support/writing.ts';

describe('backupctl logs append', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend();
  });
  after(() => backend[Symbol.asyncDispose]());

  it('keeps 100,000 lines, each once and in order, while the connection is cut again and again', async () => {
    await using cable = await Cable.start(new URL(`http://${backend.address}`));
    const backupId = newBackupId();
    await using append = startBackupctl(`127.0.0.1:${cable.port}`, [], {
      shell: `seq 1 100000 | $BACKUPCTL logs append ${backupId}`,
    });
    for (const count of [1, 30_000, 60_000]) {
      await eventually(async () => assert.ok((await keptIn(backend, backupId)) >= count));
      cable.cut();
    }
    assert.equal(await append.exit(), 0, append.err());
    assert.match(append.err(), /^-- 100000 entries kept$/m);
    assert.match(append.err(), /no connection/);
    const [row] = await backend.database.query(
      'select count(*)::int as n, bool_and(message = id::text) as same, max(id)::int as last from backup_logs where backupid = $1',
      [backupId],
    );
    assert.deepEqual(row, { n: 100_000, same: true, last: 100_000 });
  });

  it('has whoever writes into the pipe wait while the service is away', async () => {
    await using database = await createDatabase();
    const replica = await startReplica(database.url);
    const folder = await mkdtemp(join(tmpdir(), 'backupctl-'));
    const file = join(folder, 'lines');
    const line = 'x'.repeat(999);
    await writeFile(file, `${line}\n`.repeat(40_000));
    const backupId = newBackupId();
    await using append = startBackupctl(replica.address, ['logs', 'append', backupId]);
    append.stdin.write('first\n');
    await eventually(async () => assert.ok((await keptIn({ database }, backupId)) > 0));
    await replica[Symbol.asyncDispose]();
    const input = createReadStream(file);
    input.pipe(append.stdin);
    await eventually(() => assert.match(append.err(), /no connection/));
    let read = -1;
    // What it takes no more does not change.
    await eventually(() => {
      const before = read;
      read = input.bytesRead;
      assert.ok(read > 0 && read === before);
    });
    assert.ok(read < 20_000_000, `${read} bytes were read`);
    await using _again = await startReplica(database.url, { LISTEN: replica.address });
    assert.equal(await append.exit(), 0, append.err());
    assert.equal(await keptIn({ database }, backupId), 40_001);
    assert.match(append.err(), /^-- no connection \(.*\n-- connected again\n-- 40001 entries kept\n$/);
    await rm(folder, { recursive: true });
  });

  it('keeps what no log can hold in another form, and says so', async () => {
    const backupId = newBackupId();
    await using append = startBackupctl(backend.address, ['logs', 'append', backupId, '--tee', '--level', 'debug']);
    const long = 'é'.repeat(600_000);
    const parts = ['one\r\n', '\n', 'nul \0 here\n', Buffer.from([0xff, 0xfe, 0x0a]), `${long}\n`, 'no end'];
    for (const part of parts) append.stdin.write(part);
    append.stdin.end();
    assert.equal(await append.exit(), 0, append.err());
    const { entries } = await backend.logs.listLogs({ backupId });
    assert.deepEqual(
      entries.map(({ message, level }) => [message.length > 100 ? message.length : message, level]),
      ['one', '', 'nul ␀ here', '\ufffd\ufffd', 524_288, 75_712, 'no end'].map(message => [message, LogLevel.DEBUG]),
    );
    assert.match(append.err(), /^-- 7 entries kept, 2 of them pieces of lines that were too long, 2 lines with NUL/m);
    assert.equal(append.out(), parts.map(String).join(''));
  });

  it('keeps all when nobody reads the copy any more', async () => {
    const backupId = newBackupId();
    const shell = `seq 1 200000 | $BACKUPCTL logs append ${backupId} --tee | head -1`;
    await using append = startBackupctl(backend.address, [], { shell });
    assert.equal(await append.exit(), 0, append.err());
    assert.deepEqual(append.lines(), ['1']);
    assert.equal(await keptIn(backend, backupId), 200_000);
  });

  it('finds out the level of each line', async () => {
    const backupId = newBackupId();
    await using append = startBackupctl(backend.address, ['logs', 'append', backupId, '--detect-level', '-q']);
    append.stdin.end('ERROR: broken\n\tat main\n[warn] low\nplain\n2026-11-26 02:30 DEBUG rows\n');
    assert.equal(await append.exit(), 0);
    const { entries } = await backend.logs.listLogs({ backupId });
    assert.deepEqual(
      entries.map(({ level }) => level),
      [LogLevel.ERROR, LogLevel.ERROR, LogLevel.WARNING, LogLevel.INFO, LogLevel.DEBUG],
    );
    assert.equal(append.err(), '');
  });

  it('keeps each line at once, also when the program is not done', async () => {
    const backupId = newBackupId();
    await using append = startBackupctl(backend.address, ['logs', 'append', backupId]);
    for (const [count, line] of [
      [1, 'one'],
      [2, 'two'],
    ] as const) {
      append.stdin.write(`${line}\n`);
      await eventually(async () => assert.equal(await keptIn(backend, backupId), count));
    }
    append.stdin.end();
    assert.equal(await append.exit(), 0);
  });

  it('keeps what was read when it is interrupted, and what the program says last', async () => {
    const backupId = newBackupId();
    await using append = startBackupctl(backend.address, ['logs', 'append', backupId]);
    append.stdin.write('one\ntwo\nunfin');
    await eventually(async () => assert.equal(await keptIn(backend, backupId), 2));
    append.kill('SIGINT');
    append.stdin.write('ished\n');
    await eventually(async () => assert.equal(await keptIn(backend, backupId), 3));
    append.stdin.end('last words');
    assert.equal(await append.exit(), 130, append.err());
    assert.deepEqual(await messages(backend, backupId), ['one', 'two', 'unfinished', 'last words']);

    const another = newBackupId();
    await using hangs = startBackupctl(backend.address, ['logs', 'append', another]);
    hangs.stdin.write('one\ntwo');
    await eventually(async () => assert.equal(await keptIn(backend, another), 1));
    hangs.kill('SIGTERM');
    assert.equal(await hangs.exit(), 143, hangs.err());
    assert.deepEqual(await messages(backend, another), ['one', 'two']);
    assert.match(hangs.err(), /^-- 2 entries kept$/m);
  });

  it('says what the service leaves out, and fails when the service refuses', async () => {
    await using database = await createDatabase();
    await using strict = await startReplica(database.url, { LOG_KEEP_LEVEL: 'warning', LOG_MAX_MESSAGE_BYTES: '1024' });
    const backupId = newBackupId();
    await using left = startBackupctl(strict.address, ['logs', 'append', backupId, '--detect-level']);
    left.stdin.end('one\nERROR two\n');
    assert.equal(await left.exit(), 0, left.err());
    assert.match(left.err(), /^-- 1 entry kept, 1 left out by the service, which keeps none of their level$/m);
    const long = `ERROR ${'x'.repeat(3000)}\nERROR three\n`;
    await using refused = startBackupctl(strict.address, ['logs', 'append', newBackupId(), '--detect-level']);
    refused.stdin.end(long);
    assert.equal(await refused.exit(), 2, refused.err());
    assert.match(refused.err(), /^-- 0 entries kept, 2 not known to be kept\nerror: INVALID_ARGUMENT.*1024/m);
    await using shorter = startBackupctl(strict.address, [
      'logs',
      'append',
      backupId,
      '--level',
      'error',
      '--max-line',
      '1024',
    ]);
    shorter.stdin.end(long);
    assert.equal(await shorter.exit(), 0, shorter.err());
    assert.match(shorter.err(), /^-- 4 entries kept, 3 of them pieces/m);
    await using nobody = startBackupctl('127.0.0.1:1', ['logs', 'append', backupId]);
    nobody.stdin.end('one\n');
    assert.equal(await nobody.exit(), 5, nobody.err());
    assert.match(nobody.err(), /^-- 0 entries kept, 1 not known to be kept$/m);
  });
});

async function keptIn({ database }: Pick<Backend, 'database'>, backupId: string): Promise<number> {
  const [row] = await database.query('select count(*)::int as n from backup_logs where backupid = $1', [backupId]);
  return row!['n'] as number;
}

async function messages(backend: Backend, backupId: string): Promise<string[]> {
  return (await backend.logs.listLogs({ backupId })).entries.map(({ message }) => message);
}
