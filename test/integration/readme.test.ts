import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DescService } from '@bufbuild/protobuf';
import { z } from 'zod';
import { settings } from '../../src/config.ts';
import { ControllerService } from '../../src/gen/backup/v1/controller_pb.ts';
import { CourseService } from '../../src/gen/backup/v1/course_pb.ts';
import { LogService } from '../../src/gen/backup/v1/log_pb.ts';
import { ReplicaService } from '../../src/gen/backup/v1/replica_pb.ts';
import { SCOPES, scopeOf } from '../../src/identity/scope.ts';
import { Files } from '../support/authority.ts';
import { startBackend } from '../support/backend.ts';
import { createDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { Issuer, tokenSettings } from '../support/issuer.ts';
import { type Running, ready, repository, run } from '../support/process.ts';

const readme = textOf('README.md');
const fence = /^```(.*)\n([\s\S]*?)^```$/gm;
const { scripts }: { scripts: Record<string, string> } = JSON.parse(textOf('package.json'));

const npm = [
  'npm ci',
  ...Object.keys(scripts).map(name => (/^(start|test)$/.test(name) ? `npm ${name}` : `npm run ${name}`)),
];

describe('README.md', function () {
  this.timeout(60_000);

  it('has no command in its blocks but those that are tested here', () => {
    assert.ok(commands().length > 0);
    assert.deepEqual(without([...npm, ...bufCurls(), ...networkCommands()], commands()), []);
    assert.ok(existsSync(join(repository, 'package-lock.json')), 'npm ci needs it');
  });

  it('names scripts of npm that exist, the demo being what demo.test.ts runs', () => {
    const named = spans().filter(span => span.startsWith('npm '));
    assert.ok(named.includes('npm run demo'));
    const bare = named.map(command => command.split(' -- ')[0]!);
    assert.deepEqual(without(npm, bare), []);
    const program = scripts['demo']?.split(' ').at(-1);
    assert.ok(textOf('test/integration/demo.test.ts').includes(`start(['${program}'`), program);
  });

  it('shows in one terminal what another one appends', async () => {
    const [tail = '', append = ''] = bufCurls();
    assert.ok(tail.includes('/TailLogs') && append.includes('/AppendLogs'));
    const message = /"message": "(.+?)"/.exec(append)![1]!;
    await using backend = await startBackend();
    await using tailing = paste(tail, backend.address);
    await eventually(() => assert.match(tailing.output(), /"caughtUp"/), 30_000);
    for (const times of [1, 2]) {
      await using appending = paste(append, backend.address);
      assert.equal(await appending.exit(), 0, appending.output());
      await eventually(() => assert.equal(tailing.output().split(message).length - 1, times, tailing.output()));
    }
  });

  it('gives a run that was created to a worker', async () => {
    const [, , create = '', claim = ''] = bufCurls();
    assert.ok(create.includes('/CreateController') && claim.includes('/ClaimControllers'));
    await using backend = await startBackend();
    await using creating = paste(create, backend.address);
    assert.equal(await creating.exit(), 0, creating.output());
    await using claiming = paste(claim, backend.address);
    assert.equal(await claiming.exit(), 0, claiming.output());
    const idIn = (output: string) => /"backupId": +"(\w{32})"/.exec(output)?.[1];
    assert.equal(idIn(claiming.output()), idIn(creating.output()) ?? assert.fail(creating.output()));
    assert.match(claiming.output(), /"leaseToken": +"[0-9a-f-]{36}"/);
  });

  it('gives a course that was asked for to a worker', async () => {
    const [, , , , upsert = '', run = '', claim = '', ...more] = bufCurls();
    assert.ok(
      /UpsertCourses/.test(upsert) && /RunCourseNow/.test(run) && /ClaimDueCourses/.test(claim) && !more.length,
    );
    await using backend = await startBackend();
    for (const [command, said] of [
      [upsert, /"nextStartTime"/],
      [run, /COURSE_STATUS_QUEUED/],
      [claim, /"leaseToken"/],
    ] as const) {
      await using calling = paste(command, backend.address);
      assert.equal(await calling.exit(), 0, calling.output());
      assert.match(calling.output(), said);
    }
  });

  it('is served on a network with TLS and client certificates', async function () {
    if (spawnSync('openssl', ['version']).error) {
      console.log('      openssl is not installed here: this is left out');
      this.skip();
    }
    const [certify = '', serve = '', call = '', ...more] = networkCommands();
    assert.deepEqual(more, []);
    await using database = await createDatabase();
    using files = new Files();
    // Where it can be read by who runs the commands from the repository.
    const there = (command: string) => command.replace(/tls\.(key|crt)/g, name => files.path(name));
    await using certifying = run('sh', ['-c', there(certify)]);
    assert.equal(await certifying.exit(), 0, certifying.output());
    assert.ok(serve.includes('LISTEN=0.0.0.0:50051 '));
    await using serving = run('sh', ['-c', there(serve).replace(':50051', ':0')], { DATABASE_URL: database.url });
    const port = (await ready(serving)).split(':').at(-1);
    const secured = there(call).replace('https://localhost:50051/', `https://localhost:${port}/`);
    await using calling = run('sh', ['-c', secured]);
    assert.equal(await calling.exit(), 0, calling.output());
    assert.match(calling.output(), /COURSE_STATUS_NOT/);
    await using strange = run('sh', ['-c', secured.replace(/--cert \S+ --key \S+/, '')]);
    assert.notEqual(await strange.exit(), 0);
  });

  it('is called with a token as it says', async () => {
    const flags = spans().find(span => span.startsWith('-H "authorization: Bearer $TOKEN"'))!;
    const issuer = await Issuer.create();
    using files = new Files();
    await using backend = await startBackend({
      settings: tokenSettings(await files.put('keys.json', issuer.jwks)),
    });
    const call = bufCurls()[1]!;
    for (const [scopes, code] of [
      ['read work', 0],
      ['read', 1],
    ] as const) {
      const TOKEN = await issuer.token(scopes);
      await using calling = paste(`${call} ${flags}`, backend.address, { TOKEN });
      assert.equal(Math.min(1, (await calling.exit()) ?? 1), code, calling.output());
      if (code === 1) assert.match(calling.output(), /permission_denied.*the scope work is missing/s);
    }
  });

  it('says of every method which scope it needs', () => {
    const stated = table('Scopes').map(([scope, methods]) => [
      uncoded(scope!),
      methods!.replace(/;.*/, '').split(', '),
    ]);
    const methods = [ControllerService, CourseService, LogService, ReplicaService].flatMap(service => service.methods);
    const declared = [...SCOPES].map(scope => [
      scope,
      methods.filter(method => scopeOf(method) === scope).map(({ name }) => name),
    ]);
    assert.deepEqual(stated, declared);
  });

  it('states settings with their defaults', () => {
    const stated = [...table('Settings'), ...table('On a network')].map(([name, value]) => [
      uncoded(name!),
      uncoded(value!),
    ]);
    assert.ok(stated.length > 0);
    assert.deepEqual(
      stated,
      stated.map(([name]) => [name, defaults().get(name!)]),
    );
    const mentioned = spans().filter(span => /^[A-Z]+(_[A-Z]+)+$/.test(span));
    assert.deepEqual(without([...defaults().keys()], mentioned), []);
  });

  it('lists every service with all of its methods, and no others', async () => {
    const listed: Record<string, string[]> = {};
    let methods: string[] = [];
    for (const [cell] of table('What it does')) {
      const service = /^\*\*(.+)\*\*$/.exec(cell!)?.[1];
      if (service) listed[service] = methods = [];
      else methods.push(...cell!.split(', '));
    }
    // Of what others have declared it names the service only, and of reflection the package, which has two versions.
    const expected = (await services()).map(({ name, typeName, methods }) =>
      typeName.startsWith('backup.')
        ? [name, methods.map(method => method.name).toSorted()]
        : [typeName.replace(/^(grpc\.reflection)\..*/, '$1'), []],
    );
    for (const methods of Object.values(listed)) methods.sort();
    assert.deepEqual(listed, Object.fromEntries(expected));
  });

  it('names for every promise the tests that hold it', () => {
    const rows = table('What is promised, and which test holds it');
    assert.ok(rows.length > 20);
    for (const [promise, held] of rows) {
      const tests = [...held!.matchAll(/\]\(([^)]+)\)/g)].map(([, path]) => path!);
      assert.ok(tests.length > 0, promise);
      for (const path of tests) assert.match(textOf(path), /\bit\(|describeRules\(/, path);
    }
  });

  it('links to files that exist, and names no others', () => {
    const links = [...readme.matchAll(/\]\(([^)#]+)/g)].map(([, target]) => target!).filter(to => !/^\w+:/.test(to));
    const paths = spans().filter(span => /^\w[\w./-]*(\/|\.(ts|py|proto|yaml|json|md))$/.test(span));
    assert.ok(links.length > 0 && paths.length > 0);
    assert.deepEqual(
      [...links, ...paths].filter(path => !existsSync(join(repository, path))),
      [],
    );
  });
});

/** The commands of its `sh` blocks. Lines that a backslash continues stay as they are. */
function commands(text = readme): string[] {
  const blocks = [...text.matchAll(fence)].filter(([, language]) => language === 'sh');
  const lines = blocks.flatMap(([, , block]) => block!.split(/(?<!\\)\n/));
  return lines
    .flatMap(line => line.replace(/(^|\s)#.*/, '').split(' && '))
    .map(command => command.trim())
    .filter(command => command !== '');
}

function bufCurls(): string[] {
  return commands().filter(command => command.startsWith('npx buf curl --http2-prior-knowledge '));
}

/** Those of the section about networks. */
function networkCommands(): string[] {
  const about = readme.split(/^#+ /m).find(text => text.startsWith('On a network\n'));
  return commands(about);
}

/** Runs a command as a reader's shell would, but on the service at `address`. */
function paste(command: string, address: string, env: Record<string, string> = {}): Running {
  const usual = `http://${defaults().get('LISTEN')}/`;
  assert.ok(command.includes(usual), `${command} calls another address than where the service listens`);
  return run('sh', ['-c', command.replace(usual, `http://${address}/`)], env);
}

/** What it says in code font between its blocks. */
function spans(): string[] {
  return [...readme.replace(fence, '').matchAll(/`([^`]+)`/g)].map(([, code]) => code!);
}

/** The cells of the table below a heading, without its head. */
function table(heading: string): string[][] {
  const section = readme.split(/^#+ /m).find(text => text.startsWith(`${heading}\n`));
  assert.ok(section, heading);
  const rows = section.split('\n').filter(line => line.startsWith('|'));
  return rows.slice(2).map(row =>
    row
      .split('|')
      .slice(1, -1)
      .map(cell => cell.trim()),
  );
}

function uncoded(cell: string): string {
  return cell.replace(/^`(.*)`$/, '$1');
}

function without(known: string[], all: string[]): string[] {
  return all.filter(one => !known.includes(one));
}

/** Every setting with its default, empty if it has none. */
function defaults(): Map<string, string> {
  const { properties = {} } = z.toJSONSchema(settings, { io: 'input' });
  const all = Object.entries(properties as Record<string, { default?: string }>);
  return new Map(all.map(([name, { default: value = '' }]) => [name, value]));
}

/** The services of all generated code. */
async function services(): Promise<DescService[]> {
  const paths = globSync('src/gen/**/*_pb.ts', { cwd: repository });
  const modules: Record<string, { kind?: string }>[] = await Promise.all(
    paths.map(path => import(join(repository, path))),
  );
  return modules.flatMap(Object.values).filter(exported => exported.kind === 'service');
}

function textOf(path: string): string {
  return readFileSync(join(repository, path), 'utf8');
}
