import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { configure } from '../../../src/cli/configuration.ts';
import { repository } from '../../support/process.ts';
import { type Block, pages } from './pages.ts';

const blocks = pages.flatMap(page => page.blocks);

/** What is done with blocks of a language; text is what programs print. */
const KINDS: Record<string, string> = {
  sh: 'entered by commands/',
  sql: 'entered by commands/',
  'sql citus': 'entered on a cluster, by engine/citus-docs.test.ts; so are the next three',
  'sql citus-node': '',
  'sql citus-worker': '',
  'sql citus-moment': '',
  ts: 'run by commands/, and compiled here',
  yaml: 'read by those who are to read it, here',
  text: 'nothing',
};

describe('Blocks of the documentation', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'backup-management-snippets-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('are of kinds that are tested', () => {
    const strange = blocks.filter(({ language }) => !(language in KINDS));
    assert.deepEqual(
      strange.map(({ page, line, language }) => `${page}:${line} ${language}`),
      [],
    );
    for (const kind of Object.keys(KINDS)) assert.ok(of(kind).length > 0, kind);
  });

  it('of TypeScript compile against the client library', () => {
    symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'));
    for (const block of of('ts')) writeFileSync(join(folder, `${nameOf(block)}.ts`), block.text);
    const source = (path: string) => [join(repository, 'src', path)];
    const paths = {
      'backup-management-client': source('client/main.ts'),
      'backup-management-client/backup/v1/*': source('gen/backup/v1/*_pb.ts'),
    };
    const config = {
      extends: join(repository, 'tsconfig.json'),
      compilerOptions: { paths, typeRoots: [join(repository, 'node_modules/@types')] },
      include: ['*.ts'],
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
    writeFileSync(join(folder, 'package.json'), '{"type": "module"}');
    const tsc = join(repository, 'node_modules/typescript/bin/tsc');
    const { status, stdout } = spawnSync('node', [tsc, '-p', folder], { encoding: 'utf8' });
    assert.equal(status, 0, stdout);
  });

  for (const block of of('yaml'))
    it(`of YAML are understood by those who read them: ${block.page}, line ${block.line}`, async () => {
      const document = parse(block.text) as Record<string, unknown>;
      const reader = READERS.find(([key]) => key in document)?.[1];
      assert.ok(reader, `nobody reads ${Object.keys(document)}`);
      const file = join(folder, `${nameOf(block)}.yaml`);
      writeFileSync(file, block.text);
      await reader(file, document);
    });

  /** By a key that it has: who reads such a file, and whether it is understood. */
  const READERS: [key: string, check: (file: string, document: Record<string, unknown>) => Promise<void>][] = [
    [
      'contexts',
      async (file, { contexts }) => {
        for (const context of Object.keys(contexts as object)) {
          const { address } = await configure({ config: file, context }, {});
          assert.ok(address.length > 0);
        }
        await assert.rejects(configure({ config: file, context: 'another' }, {}), /there is no context another/);
      },
    ],
    [
      'scrape_configs',
      async (file, { scrape_configs }) => {
        const alerts = join(repository, 'observability/alerts.yaml');
        cpSync(alerts, join(folder, 'alerts.yaml'));
        const jobs = (scrape_configs as { job_name: string }[]).map(({ job_name }) => job_name);
        const asked = readFileSync(alerts, 'utf8').matchAll(/job="([^"]+)"/g);
        assert.deepEqual(
          [...new Set([...asked].map(([, job]) => job))].filter(job => !jobs.includes(job!)),
          [],
        );
        if (spawnSync('promtool', ['--version']).error) console.log('      promtool is not here: not asked');
        else execFileSync('promtool', ['check', 'config', file], { stdio: 'pipe' });
      },
    ],
  ];
});

function of(kind: string): Block[] {
  return blocks.filter(({ language }) => language === kind);
}

function nameOf({ page, line }: Block): string {
  return `${page.replace(/\W/g, '-')}-${line}`;
}
