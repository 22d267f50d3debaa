import { strict as assert } from 'node:assert';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DescService } from '@bufbuild/protobuf';
import { z } from 'zod';
import { settings } from '../../../src/config.ts';
import { ControllerService } from '../../../src/gen/backup/v1/controller_pb.ts';
import { CourseService } from '../../../src/gen/backup/v1/course_pb.ts';
import { LogService } from '../../../src/gen/backup/v1/log_pb.ts';
import { SCOPES, scopeOf } from '../../../src/identity/scope.ts';
import { Files } from '../../support/authority.ts';
import { startBackend } from '../../support/backend.ts';
import { Issuer, tokenSettings } from '../../support/issuer.ts';
import { repository, run } from '../../support/process.ts';
import { commandsOf, pageAt, pages, spans, table } from './pages.ts';

const readme = pageAt('README.md');
const network = pageAt('docs/network.md');
const { scripts }: { scripts: Record<string, string> } = JSON.parse(textOf('package.json'));

const npm = [
  'npm ci',
  ...Object.keys(scripts).map(name => (/^(start|test)$/.test(name) ? `npm ${name}` : `npm run ${name}`)),
];

describe('The documentation', () => {
  it('names scripts of npm that exist, the demo being what demo.test.ts runs', () => {
    const named = pages.flatMap(spans).filter(span => /^npm (run|start|test|ci)\b/.test(span));
    assert.ok(named.includes('npm run demo') && named.includes('npm run reference'));
    const bare = named.map(command => command.split(' --')[0]!);
    assert.deepEqual(without(npm, bare), []);
    const program = scripts['demo']?.split(' ').at(-1);
    assert.ok(textOf('test/integration/demo.test.ts').includes(`start(['${program}'`), program);
    assert.ok(existsSync(join(repository, 'package-lock.json')), 'npm ci needs it');
  });

  it('names settings that exist, and states their defaults', () => {
    const stated = [...table(readme, 'Settings'), ...table(network, 'On a network')].map(([name, value]) => [
      uncoded(name!),
      uncoded(value!),
    ]);
    assert.ok(stated.length > 0);
    assert.deepEqual(
      stated,
      stated.map(([name]) => [name, defaults().get(name!)]),
    );
    const hand = pages.filter(({ path }) => !path.startsWith('docs/reference/') && path !== 'CONTRIBUTING.md');
    const mentioned = hand.flatMap(spans).flatMap(span => /^([A-Z]+(?:_[A-Z]+)+)(=\S+)?$/.exec(span)?.[1] ?? []);
    assert.ok(mentioned.length > 30);
    assert.deepEqual(without([...defaults().keys(), ...OF_OTHERS], mentioned), []);
  });

  it('is right about how to call with a token', async () => {
    const flags = spans(network).find(span => span.startsWith('-H "authorization: Bearer $TOKEN"'))!;
    const issuer = await Issuer.create();
    using files = new Files();
    await using backend = await startBackend({ settings: tokenSettings(await files.put('keys.json', issuer.jwks)) });
    const call = readme.blocks.flatMap(commandsOf).find(command => command.includes('/AppendLogs'))!;
    const usual = `http://${defaults().get('LISTEN')}/`;
    assert.ok(call.includes(usual));
    for (const [scopes, code] of [
      ['read work', 0],
      ['read', 1],
    ] as const) {
      const TOKEN = await issuer.token(scopes);
      const pasted = `${call.replace(usual, `http://${backend.address}/`)} ${flags}`;
      await using calling = run('sh', ['-c', pasted], { TOKEN });
      assert.equal(Math.min(1, (await calling.exit()) ?? 1), code, calling.output());
      if (code === 1) assert.match(calling.output(), /permission_denied.*the scope work is missing/s);
    }
  });

  it('says of every method which scope it needs', async () => {
    const stated = table(network, 'Scopes').map(([scope, methods]) => [
      uncoded(scope!),
      methods!.replace(/;.*/, '').split(', ').toSorted(),
    ]);
    const own = (await services()).filter(({ typeName }) => typeName.startsWith('backup.'));
    assert.ok([ControllerService, CourseService, LogService].every(({ name }) => own.some(one => one.name === name)));
    const declared = [...SCOPES].map(scope => [
      scope,
      own
        .flatMap(({ methods }) => methods)
        .filter(method => scopeOf(method) === scope)
        .map(({ name }) => name)
        .toSorted(),
    ]);
    assert.deepEqual(stated, declared);
  });

  it('lists every service with all of its methods, and no others', async () => {
    const listed: Record<string, string[]> = {};
    let methods: string[] = [];
    for (const [cell] of table(readme, 'What it does')) {
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
    const rows = table(readme, 'What is promised, and which test holds it');
    assert.ok(rows.length > 20);
    for (const [promise, held] of rows) {
      const tests = [...held!.matchAll(/\]\(([^)]+)\)/g)].map(([, path]) => path!);
      assert.ok(tests.length > 0, promise);
      for (const path of tests) assert.match(textOf(path), /\bit\(|describeRules\(/, path);
    }
  });
});

/** What looks like a setting and is one of somebody else: Node's, the examples', the fault suite's, reasons of errors. */
const OF_OTHERS = [
  'NODE_EXTRA_CA_CERTS',
  'FAULT_MINUTES',
  'FUZZ_MESSAGES',
  'LIFECYCLE_LIVES',
  'PAYLOAD_MIB',
  'TEST_CITUS_URL',
];

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
