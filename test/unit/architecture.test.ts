import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

type Rule = { they: string; files: RegExp; never: RegExp; but?: RegExp };

// Who may know whom. `never` and `but` are tried on what a file imports: a path below the root, or the name of a package.
const rules: Rule[] = [
  {
    they: 'transport, doorbell and latch know nothing of backups',
    files: /^src\/(grpc\/|db\/doorbell|latch)/,
    never: /^src\//,
    but: /^src\/(db\/doorbell\/|grpc\/|latch|errors|gen\/(google|grpc|health)\/)/,
  },
  {
    they: 'clients of brokers are known to the file of each only',
    files: /^src\/(?!db\/doorbell\/(nats|redis)\.ts$)/,
    never: /^@(nats-io|redis)\//,
  },
  {
    they: 'who calls is found out without knowing what is called',
    files: /^src\/identity\//,
    never: /^src\//,
    but: /^src\/(identity\/|grpc\/guard|errors|periodic|gen\/backup\/v1\/scope_pb)/,
  },
  {
    they: 'nobody but the composition root and the settings knows how identity is proved',
    files: /^src\/(?!identity\/|app\/|(app|config)\.ts$)/,
    never: /^(src\/identity\/|jose$)/,
  },
  {
    they: 'the database knows of the rooms no more than their entities',
    files: /^src\/db\//,
    never: /^src\/(controller|course|log|request)\//,
    but: /entity\.ts$/,
  },
  {
    they: 'logs know neither controllers nor courses, nor those who follow and fill them',
    files: /^src\/log\//,
    never: /^src\/(controller|course|ingest|tail)\//,
  },
  {
    they: 'what follows and fills logs knows no other room',
    files: /^src\/(ingest|tail)\//,
    never: /^src\/(automation|controller|course|payload|request|retention|summary|watch|work)\//,
  },
  {
    they: 'segments know of logs what an entry is',
    files: /^src\/segment\//,
    never: /^src\//,
    but: /^src\/(segment\/|db\/(clock|shard|sql|wanted|standby\/standby)\.ts$|log\/(entry|limits)\.ts$|errors\.ts$|periodic\.ts$|timestamps\.ts$|gen\/backup\/segment\/)/,
  },
  {
    they: 'only what speaks S3 knows its client',
    files: /^src\/(?!segment\/s3\.ts$)/,
    never: /^aws4fetch$/,
  },
  {
    they: 'answers to requests are kept without knowing what they are about',
    files: /^src\/request\//,
    never: /^src\//,
    but: /^src\/(db\/(clock|delete|sql)|errors)\.ts$/,
  },
  { they: 'controllers know no courses', files: /^src\/controller\//, never: /^src\/course\// },
  {
    they: 'of logs, controllers know the head only',
    files: /^src\/controller\//,
    never: /^src\/log\//,
    but: /^src\/log\/head\.ts$/,
  },
  {
    they: 'courses know neither those who move them nor workers',
    files: /^src\/course\//,
    never: /^src\/(automation|log|payload|retention|summary|watch|work)\//,
  },
  {
    they: 'what moves courses knows no workers',
    files: /^src\/automation\//,
    never: /^src\/(log|payload|retention|summary|watch|work)\//,
  },
  {
    they: 'what courses and schedules are knows no database but its columns, and no protocol',
    files: /^src\/course\/(lifecycle|schedule)\.ts$/,
    never: /^(src\/(db|gen|grpc)\/|@)/,
  },
  {
    they: 'the service does without commands and imports',
    files: /^src\/(?!cli\/|moodle\/|db\/orm\.ts$)/,
    never: /^(src\/(cli|moodle)\/|commander$|cli-progress$|mysql2|string-width$|yaml$)/,
  },
  {
    they: 'only telemetry knows how the service is watched, and the application that there is telemetry',
    files: /^src\/(?!telemetry\/|cli\/)/,
    never: /^(src\/telemetry\/|prom-client$|@opentelemetry\/)/,
    but: /^src\/telemetry\/(telemetry|profile)\.ts$/,
  },
  {
    they: 'rooms are watched and do not know it',
    files: /^src\/(?!telemetry\/|app(\/|\.ts$))/,
    never: /^src\/telemetry\//,
    but: /^src\/telemetry\/profile\.ts$/,
  },
  {
    they: 'telemetry knows rooms by what their books say only',
    files: /^src\/telemetry\//,
    never: /^src\//,
    but: /^src\/(telemetry\/|batch\.ts$|grpc\/(bind|call)\.ts$|summary\/backlog\.ts$)/,
  },
  {
    they: 'an import knows tables and no rooms',
    files: /^src\/moodle\//,
    never: /^src\//,
    but: /^src\/(db|moodle)\//,
  },
  {
    they: 'a canary is a client like any other: what it judges must not help it to judge',
    files: /^src\/cli\/canary/,
    never: /^src\//,
    but: /^src\/(cli\/canary\/|gen\/backup\/|grpc\/(client|credentials)\.ts$)/,
  },
  {
    they: 'backupctl is a client: only import, migrate and engine know the database',
    files: /^src\/cli\/(?!main\.ts$|import\.ts$|migrate\.ts$|engine\.ts$)/,
    never: /^(src\/|pg$|@mikro-orm\/|mysql2)/,
    but: /^src\/(cli\/(?!import|migrate|engine)|gen\/|client\/|version\.ts$|grpc\/(client|credentials)\.ts$)/,
  },
  {
    they: 'a replica describes itself without knowing any room',
    files: /^src\/replica\//,
    never: /^src\//,
    but: /^src\/(db|gen|grpc|replica|errors|timestamps|version)(\/|\.ts$)/,
  },
  {
    they: 'the client library knows the protocol and nothing of the service',
    files: /^src\/client\//,
    never: /./,
    but: /^(src\/(client\/|gen\/|grpc\/(client|credentials)\.ts$)|@bufbuild\/protobuf|@grpc\/grpc-js$|node:)/,
  },
  {
    they: 'what the client library has of the transport needs no more than the protocol does',
    files: /^src\/grpc\/(client|credentials|definition|frame|write)\.ts$/,
    never: /./,
    but: /^(src\/grpc\/(definition|frame|write)\.ts$|@bufbuild\/protobuf|@grpc\/grpc-js$|node:)/,
  },
  { they: 'the service does without its client', files: /^src\/(?!client\/|cli\/)/, never: /^src\/client\// },
  {
    they: 'watches know controllers and no other room',
    files: /^src\/watch\//,
    never: /^src\/(course|log|payload|request|retention|summary|work)\//,
  },
  {
    they: 'the status page knows the service as its callers do: by messages, and by what they are answered',
    files: /^src\/page\//,
    never: /^src\//,
    but: /^src\/(page\/|errors\.ts$|gen\/|grpc\/(local|write)\.ts$)/,
  },
  {
    they: 'the service does without the status page',
    files: /^src\/(?!page\/|app(\/|\.ts$))/,
    never: /^src\/page\//,
  },
  { they: 'nobody knows of watches', files: /^src\/(?!watch\/|app(\/|\.ts$))/, never: /^src\/watch\// },
  {
    they: 'the life of a long stream knows nothing of what it tells',
    files: /^src\/(lifespan|outage)\.ts$/,
    never: /^src\//,
    but: /^src\/errors\.ts$/,
  },
  {
    they: 'entities and the life cycle know neither protocol nor transport',
    files: /\/(entity|lifecycle)\.ts$/,
    never: /^(src\/(gen|grpc)\/|@grpc\/|@bufbuild\/)/,
  },
  {
    they: 'generated code of backups is seen by services, scopes, the composition root, the client, the status page and commands only',
    files: /^src\/(?!.*\/(service|message)\.ts$|app(\/|\.ts$)|errors\.ts$|identity\/scope\.ts$|client\/|cli\/|page\/)/,
    never: /^src\/gen\/backup\//,
  },
  {
    they: 'errors see no more of backups than their reasons',
    files: /^src\/errors\.ts$/,
    never: /^src\//,
    but: /^src\/gen\/(backup\/v1\/error_pb|google\/)/,
  },
  { they: 'only the process knows the application', files: /^src\/(?!main\.ts$)/, never: /^src\/(app|main)\.ts$/ },
  { they: 'only the application knows its parts', files: /^src\/(?!app(\/|\.ts$))/, never: /^src\/app\// },
  {
    they: 'only the composition root knows settings',
    files: /^src\/(?!main\.ts$|app(\/|\.ts$))/,
    never: /^src\/config\.ts$/,
  },
  { they: 'the service knows no tests and no tools', files: /^src\//, never: /^(test|bench|examples|tools)\// },
];

const sources = globSync('src/**/*.ts', { cwd: root }).filter(path => !path.startsWith('src/gen/'));
const everything = globSync('{src,test,bench,examples,tools}/**/*.ts', { cwd: root, exclude: ['**/node_modules'] });

describe('The architecture', () => {
  it('has sources to look at', () => {
    assert.ok(sources.includes('src/controller/service.ts') && sources.includes('src/main.ts'));
    assert.ok(importsOf('src/controller/service.ts').includes('src/log/head.ts'));
    assert.ok(importsOf('src/controller/entity.ts').includes('@mikro-orm/core'));
  });

  for (const { they, files, never, but } of rules) {
    it(they, () => {
      const judged = sources.filter(path => files.test(path));
      assert.ok(judged.length > 0, 'the rule is about no file');
      const violations = judged.flatMap(path =>
        importsOf(path)
          .filter(imported => never.test(imported) && !but?.test(imported))
          .map(imported => `${path} imports ${imported}`),
      );
      assert.deepEqual(violations, []);
    });
  }

  it('has no file that imports itself by way of others', () => {
    const cycles = sources.filter(path => reachable(path).has(path));
    assert.deepEqual(cycles, []);
  });

  it('loads telemetry only when it is switched on', () => {
    const loads = textOf('src/telemetry/telemetry.ts').matchAll(/^import (?!type ).*'([^']+)'/gm);
    assert.deepEqual(
      [...loads].map(([, specifier]) => specifier),
      [],
    );
    assert.match(textOf('src/telemetry/telemetry.ts'), /await import\('\.\/metrics\.ts'\)/);
  });

  it('loads a store of segments only when it is set', () => {
    const loads = textOf('src/segment/open.ts').matchAll(/^import (?!type )(.*) from '\.\/(?:s3|folder)\.ts'/gm);
    assert.deepEqual([...loads], []);
    const others = sources.filter(
      path => path !== 'src/segment/open.ts' && /segment\/(s3|folder)\.ts$/.test(importsOf(path).join('\n')),
    );
    assert.deepEqual(others, []);
    assert.match(textOf('src/segment/open.ts'), /await import\('\.\/s3\.ts'\)/);
  });

  it('loads clients of brokers only when one is to be used', () => {
    const importers = sources.filter(path => /^import (?!type ).*\/(nats|redis)\.ts'/m.test(textOf(path)));
    assert.deepEqual(importers, []);
    for (const broker of ['nats', 'redis'])
      assert.ok(textOf('src/db/doorbell/others.ts').includes(`await import('./${broker}.ts')`));
  });

  it('loads the status page only when there is to be one', () => {
    const importers = sources.filter(
      path => !path.startsWith('src/page/') && /^import .*\/page\/\w+\.ts'/m.test(textOf(path)),
    );
    assert.deepEqual(importers, []);
    assert.match(textOf('src/app/status-page.ts'), /await import\('\.\.\/page\/page\.ts'\)/);
  });

  it('reads the environment in main only; what starts programs may hand it on', () => {
    const readers = sources.filter(path => /process\.env\b/.test(textOf(path).replaceAll('...process.env', '')));
    assert.deepEqual(readers.sort(), ['src/cli/backupctl.ts', 'src/cli/main.ts', 'src/main.ts']);
    const handsOn = sources.filter(path => textOf(path).includes('...process.env'));
    assert.deepEqual(handsOn, ['src/db/embedded.ts']);
  });

  it('has no default exports and no barrels', () => {
    assert.deepEqual(
      everything.filter(path => /^export default|^export \{[^}]*\bdefault\b/m.test(textOf(path))),
      [],
    );
    assert.deepEqual(
      everything.filter(path => path.endsWith('/index.ts') || /^export \* from/m.test(textOf(path))),
      [],
    );
  });

  it('has no folder for odds and ends', () => {
    const vague = /(^|\/)(utils?|helpers?|common|shared|types|interfaces|dtos?|repositor(y|ies)|constants)(\/|\.ts$)/i;
    assert.deepEqual(
      everything.filter(path => vague.test(path)),
      [],
    );
  });
});

/** What a file imports, types included: paths below the root, and names of packages. */
function importsOf(path: string): string[] {
  const specifiers = textOf(path).matchAll(/(?:\bfrom |^import |\bimport\()'([^']+)'/gm);
  return [...specifiers].map(([, specifier]) =>
    specifier!.startsWith('.') ? posix.join(dirname(path), specifier!) : specifier!,
  );
}

function reachable(from: string): Set<string> {
  const seen = new Set<string>();
  const visit = (path: string) => {
    for (const imported of importsOf(path)) {
      if (!imported.startsWith('src/') || imported.startsWith('src/gen/') || seen.has(imported)) continue;
      seen.add(imported);
      visit(imported);
    }
  };
  visit(from);
  return seen;
}

function textOf(path: string): string {
  return readFileSync(posix.join(root, path), 'utf8');
}
