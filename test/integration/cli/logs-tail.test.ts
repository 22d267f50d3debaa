import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Outcome, Purpose, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, startBackend, startReplica } from '../../support/backend.ts';
import { Cable } from '../../support/cable.ts';
import { createDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { ready, run } from '../../support/process.ts';
import { onTerminal, startBackupctl } from '../../support/running-backupctl.ts';
import { append, finish, newBackup, newBackupId, writeAll } from '../../support/writing.ts';

const ESCAPE = '\u001b';

describe('backupctl logs tail', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend();
  });
  after(() => backend[Symbol.asyncDispose]());

  it('prints each line once and in order while its replica is killed and its connection is cut', async () => {
    await using database = await createDatabase();
    await using lasting = await startReplica(database.url);
    const settings = { DATABASE_URL: database.url, SERVICE_LOG: 'silent' };
    const victim = run('node', ['src/main.ts'], { ...settings, LISTEN: '127.0.0.1:0' });
    const address = await ready(victim);
    await using cable = await Cable.start(new URL(`http://${address}`));
    const backupId = newBackupId();
    await using tail = startBackupctl(`127.0.0.1:${cable.port}`, ['logs', 'tail', backupId, '--no-time']);
    const written = writeAll([lasting], backupId, 'line', 100, 3);
    await eventually(() => assert.ok(tail.lines().length >= 30));
    cable.cut();
    await eventually(() => assert.match(tail.err(), /connected again/));
    victim.child.kill('SIGKILL');
    await victim.exit();
    await written;
    await using _again = run('node', ['src/main.ts'], { ...settings, LISTEN: address });
    await append(lasting, backupId, ['the last one']);
    await eventually(() => assert.equal(tail.lines().at(-1), 'INFO  the last one'));
    assert.deepEqual(tail.lines(), [...numbered('INFO  line', 300), 'INFO  the last one']);
    assert.equal(tail.err().match(/-- no connection \(/g)?.length, 2, tail.err());
    tail.kill('SIGINT');
    assert.equal(await tail.exit(), 130);
    await victim[Symbol.asyncDispose]();
  });

  it('goes on at another replica when its own one leaves', async () => {
    await using pair = await startBackend({ replicas: 2 });
    const [first, second] = pair.replicas;
    await append(pair, newBackupId(), ['old']);
    await using tail = startBackupctl(`${first!.address},${second!.address}`, ['logs', 'tail', '--all', '--no-time']);
    const backupId = newBackupId();
    let probes = 0;
    // It begins with what is new, so somebody has to write until it has begun.
    await eventually(async () => {
      probes++;
      await append(pair, backupId, ['before']);
      assert.match(tail.out(), /before/);
    });
    await first![Symbol.asyncDispose]();
    await append(second!, backupId, ['after']);
    await eventually(() => assert.match(tail.out(), /after/));
    assert.equal(tail.lines().filter(line => line === `${backupId.slice(0, 8)} INFO  after`).length, 1);
    assert.ok(tail.lines().length <= probes + 1);
    assert.doesNotMatch(tail.out(), /old/);
  });

  it('goes on exactly behind what it printed with a resume file, also when it was killed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'backupctl-'));
    const file = join(folder, 'position');
    const [one, two] = [newBackupId(), newBackupId()];
    const args = ['logs', 'tail', one, two, '--no-time', '--resume-file', file];
    const behind = async (token: string) => {
      const start = { case: 'resumeToken', value: token.trim() } as const;
      const events = await Array.fromAsync(backend.logs.tailLogs({ backupIds: [one, two], start }));
      return events.filter(({ event }) => event.case === 'entries');
    };
    const seen: string[] = [];
    let count = 0;
    for (const end of ['SIGINT', 'SIGTERM', 'SIGKILL', 'SIGINT'] as const) {
      await using tail = startBackupctl(backend.address, args);
      for (let i = 0; i < 20; i++) {
        count++;
        await append(backend, i % 2 ? one : two, [`line ${count}`]);
      }
      await eventually(() => assert.equal(tail.lines().length, 20, tail.out() + tail.err()));
      // A kill -9 may come before the file is written, which is a moment after the line.
      if (end === 'SIGKILL')
        await eventually(async () => assert.deepEqual(await behind(await readFile(file, 'utf8')), []));
      tail.kill(end);
      await tail.exit();
      seen.push(...tail.lines());
    }
    const numbers = seen.map(line => Number(line.match(/line (\d+)/)![1])).sort((a, b) => a - b);
    assert.deepEqual(
      numbers,
      Array.from({ length: 80 }, (_, i) => i + 1),
    );
    await rm(folder, { recursive: true });
  });

  it('follows until the runs have finished, and says by its exit code whether they have succeeded', async () => {
    const good = await newBackup(backend);
    await using succeeds = startBackupctl(backend.address, ['logs', 'tail', good, '--until-finished', '--no-time']);
    await append(backend, good, ['working']);
    await eventually(() => assert.deepEqual(succeeds.lines(), ['INFO  working']));
    await finish(backend, good);
    assert.equal(await succeeds.exit(), 0, succeeds.err());
    assert.match(succeeds.err(), /^-- CREATED\n(-- [A-Z]+\n)*-- FINISHED_OK\n$/);

    const bad = await failedRun(backend, 'the disk is full');
    await using fails = startBackupctl(backend.address, [
      'logs',
      'tail',
      bad,
      good,
      '--until-finished',
      '--no-time',
      '-q',
    ]);
    assert.equal(await fails.exit(), 7);
    assert.ok(fails.lines().includes(`${bad.slice(0, 8)} ERROR the disk is full`), fails.out());
    assert.equal(fails.err(), `error: ${bad} did not succeed\n`);
    await using looks = startBackupctl(backend.address, ['logs', 'tail', bad, '--no-follow']);
    assert.equal(await looks.exit(), 0);
  });

  it('begins where it is told to, and prints what is important enough', async () => {
    const backupId = newBackupId();
    const at = (time: string) => ({ seconds: BigInt(Date.parse(time) / 1000), nanos: 0 });
    const entries = [
      { level: LogLevel.ERROR, message: 'one', createTime: at('2026-01-01T00:00:00Z') },
      { level: LogLevel.DEBUG, message: 'two', createTime: at('2026-01-02T00:00:00Z') },
      { level: LogLevel.WARNING, message: 'three', createTime: at('2026-01-03T00:00:00Z') },
    ];
    await backend.logs.appendLogs({ backupId, entries });
    const options: [string[], string[]][] = [
      [[], ['ERROR one', 'DEBUG two', 'WARN  three']],
      [['--tail', '1'], ['WARN  three']],
      [
        ['--level', 'warning'],
        ['ERROR one', 'WARN  three'],
      ],
      [
        ['--since', '2026-01-02T00:00:00Z'],
        ['DEBUG two', 'WARN  three'],
      ],
      [
        ['--ids', '--tail', '2'],
        ['     2 DEBUG two', '     3 WARN  three'],
      ],
    ];
    for (const [args, lines] of options) {
      await using tail = startBackupctl(backend.address, [
        'logs',
        'tail',
        backupId,
        '--no-follow',
        '--no-time',
        ...args,
      ]);
      assert.equal(await tail.exit(), 0, tail.err());
      assert.deepEqual(tail.lines(), lines, args.join(' '));
    }
    await using iso = startBackupctl(backend.address, ['logs', 'tail', backupId, '--no-follow', '--times', 'iso']);
    await iso.exit();
    assert.equal(iso.lines()[0], '2026-01-01T00:00:00.000Z ERROR one');
    const env = { TZ: 'Asia/Tokyo' };
    await using local = startBackupctl(backend.address, ['logs', 'tail', backupId, '--no-follow'], { env });
    await local.exit();
    assert.equal(local.lines()[0], '2026-01-01 09:00:00.000 ERROR one');
  });

  it('follows the logs of a filter, each with the name of its backup', async () => {
    await using tail = startBackupctl(
      backend.address,
      ['logs tail --course 4711 --purpose automated --from-start --no-time'.split(' ')].flat(),
    );
    const create = (itemId: bigint, purpose: Purpose) => ({ operation: 1, type: 3, itemId, purpose }) as const;
    const { controller: mine } = await backend.controllers.createController(create(4711n, Purpose.AUTOMATED));
    const { controller: other } = await backend.controllers.createController(create(4711n, Purpose.GENERAL));
    await append(backend, other!.backupId, ['of another purpose']);
    await append(backend, mine!.backupId, ['mine']);
    await eventually(() => assert.deepEqual(tail.lines(), [`${mine!.backupId.slice(0, 8)} INFO  mine`]));
  });

  it('prints an object in each line with -o json, the last ones with a token that goes on behind them', async () => {
    const backupId = newBackupId();
    await append(backend, backupId, ['a "quoted"\nmessage', 'two']);
    await using first = startBackupctl(backend.address, ['logs', 'tail', backupId, '--no-follow', '-o', 'json']);
    assert.equal(await first.exit(), 0);
    const [one, two] = first.lines().map(line => JSON.parse(line));
    assert.deepEqual(
      [one.backupId, one.id, one.level, one.message],
      [backupId, '1', 'LOG_LEVEL_INFO', 'a "quoted"\nmessage'],
    );
    assert.ok(!Number.isNaN(Date.parse(one.createTime)));
    await append(backend, backupId, ['three']);
    const token = ['--resume-token', two.resumeToken];
    await using second = startBackupctl(backend.address, [
      'logs',
      'tail',
      backupId,
      '--no-follow',
      '-o',
      'json',
      ...token,
    ]);
    await second.exit();
    assert.deepEqual(
      second.lines().map(line => JSON.parse(line).message),
      ['three'],
    );
  });

  it('has colours on a terminal and none in a pipe, and does not do what a message says to a terminal', async () => {
    const backupId = newBackupId();
    await append(backend, backupId, [`evil ${ESCAPE}[2J${ESCAPE}]0;title\u0007 and\nof two lines`], LogLevel.ERROR);
    await using piped = startBackupctl(backend.address, ['logs', 'tail', backupId, '--no-follow']);
    await using drawn = onTerminal(backend.address, ['logs', 'tail', backupId, '--no-follow']);
    await Promise.all([piped.exit(), drawn.exit()]);
    assert.ok(!piped.out().includes(ESCAPE) && !piped.err().includes(ESCAPE));
    assert.match(piped.out(), /ERROR evil \\e\[2J\\e\]0;title\\u\{7\} and\n +│ of two lines\n/);
    assert.ok(drawn.out().includes(`${ESCAPE}[31mERROR`), JSON.stringify(drawn.out()));
    assert.ok(!drawn.out().includes(`${ESCAPE}[2J`) && !drawn.out().includes('\u0007'));
    await using never = onTerminal(backend.address, ['logs', 'tail', backupId, '--no-follow', '--color', 'never']);
    await never.exit();
    assert.ok(!never.out().includes(ESCAPE));
  });

  it('leaves quietly when whoever reads has had enough, and waits for one that is slow', async () => {
    const backupId = newBackupId();
    await writeAll([backend], backupId, 'line', 20, 1000);
    const tail = `$BACKUPCTL logs tail ${backupId} --no-time -q`;
    await using head = startBackupctl(backend.address, [], { shell: `${tail} | head -2; echo "\${PIPESTATUS[0]}"` });
    assert.equal(await head.exit(), 0);
    assert.deepEqual(head.lines(), ['INFO  line 0', 'INFO  line 1', '0']);
    assert.equal(head.err(), '');
    // The pipe holds some of it, and so does the program; the service goes on meanwhile.
    const folder = await mkdtemp(join(tmpdir(), 'backupctl-'));
    const go = join(folder, 'go');
    const slowly = `mkfifo ${go}; ${tail} --no-follow | (read first; echo "$first"; cat ${go} > /dev/null; wc -l)`;
    await using slow = startBackupctl(backend.address, [], { shell: slowly });
    await eventually(() => assert.deepEqual(slow.lines(), ['INFO  line 0']));
    const { lastId } = await append(backend, newBackupId(), ['the service goes on']);
    assert.equal(lastId, 1n);
    await writeFile(go, '');
    assert.equal(await slow.exit(), 0, slow.err());
    assert.deepEqual(slow.lines(), ['INFO  line 0', '19999']);
    await rm(folder, { recursive: true });
  });

  it('says what is no longer kept, and that a log was deleted', async () => {
    const backupId = await newBackup(backend);
    const createTime = { seconds: 1n, nanos: 0 };
    const old = ['one', 'two'].map(message => ({ level: LogLevel.INFO, message, createTime }));
    await backend.logs.appendLogs({ backupId, entries: [...old, { level: LogLevel.INFO, message: 'three' }] });
    await backend.logs.purgeLogs({ backupId, olderThan: { seconds: 86_400n, nanos: 0 } });
    await using tail = startBackupctl(backend.address, ['logs', 'tail', backupId, '--no-time']);
    await eventually(() => assert.deepEqual(tail.lines(), ['INFO  three']));
    assert.match(tail.err(), /^-- entries 1 to 2 are no longer kept$/m);
    await backend.controllers.deleteController({ backupId });
    assert.equal(await tail.exit(), 0);
    assert.match(tail.err(), /^-- was deleted with its log$/m);
  });

  it('refuses what makes no sense with 2, and says with 5 that nobody is there', async () => {
    const id = newBackupId();
    const wrong = [
      [],
      [id, '--all'],
      [id, '--course', '1'],
      ['xyz'],
      ['--all', '--until-finished'],
      [id, '--tail', 'x'],
    ];
    wrong.push([id, '--tail', '1', '--since', '1h'], [id, '--since', 'yesterday'], ['--operation', 'tail']);
    for (const args of wrong) {
      await using tail = startBackupctl(backend.address, ['logs', 'tail', ...args]);
      assert.equal(await tail.exit(), 2, `${args}: ${tail.err()}`);
      assert.match(tail.err(), /^error: /);
    }
    await using nobody = startBackupctl('127.0.0.1:1', ['logs', 'tail', id]);
    assert.equal(await nobody.exit(), 5, nobody.err());
    assert.match(nobody.err(), /^-- no connection.*\nerror: UNAVAILABLE.*127.0.0.1:1/);
    await using forged = startBackupctl(backend.address, ['logs', 'tail', id, '--resume-token', 'abc']);
    assert.equal(await forged.exit(), 2, forged.err());
    assert.match(forged.err(), /RESUME_TOKEN_INVALID/);
  });
});

async function failedRun(backend: Backend, reason: string): Promise<string> {
  const backupId = newBackupId();
  const { controllers } = backend;
  // Its own purpose, so that no other test claims it.
  const run = { operation: 1, type: 3, purpose: 777 as Purpose, execution: 2, status: Status.AWAITING } as const;
  await controllers.createController({ backupId, ...run });
  const filter = { purposes: [run.purpose] };
  const { claimed } = await controllers.claimControllers({ worker: 'w', filter, requestId: randomUUID() });
  const { leaseToken } = claimed[0]!;
  await controllers.finishControllers({ finishes: [{ backupId, leaseToken, outcome: Outcome.FAILED, reason }] });
  return backupId;
}

function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix} ${i}`);
}
