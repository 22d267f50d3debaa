import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../../../src/db/embedded.ts';
import { createTables, fill, openPostgresMoodle } from '../moodle/moodle.ts';
import { EXPECTED, LEFT_OUT, NEEDS } from './expected.ts';
import { type Block, commandsOf, type Page, pageAt, pages } from './pages.ts';
import { enterSql } from './sql.ts';
import { isStart, Terminal } from './terminal.ts';

const MISSING = NEEDS.filter(([, program, args]) => spawnSync(program, args).status !== 0);
for (const [, program] of MISSING) console.log(`left out, because ${program} is not all here: commands of it`);

describe('Commands of the documentation', () => {
  it('are all known: no expectation is about a command that is gone', () => {
    for (const [path, expected] of Object.entries(EXPECTED)) {
      const { blocks = [] } = pages.find(page => page.path === path) ?? {};
      const commands = blocks.flatMap(block => (isProgram(block) ? block.text : enteredOf(block)));
      for (const [command] of expected)
        assert.ok(
          commands.some(one => command.test(one)),
          `${path}: ${command}`,
        );
    }
    const all = pages.flatMap(({ blocks }) => blocks.filter(isShell).flatMap(commandsOf).flatMap(partsOf));
    for (const [command] of LEFT_OUT)
      assert.ok(
        all.some(one => command.test(one)),
        String(command),
      );
  });

  for (const page of pages.filter(({ blocks }) =>
    blocks.some(block => isProgram(block) || enteredOf(block).length > 0),
  ))
    it(`work as they stand in ${page.path}`, async function () {
      this.timeout(300_000);
      await using opened = new AsyncDisposableStack();
      const server = needsServer(page) ? opened.use(await ownServer()) : undefined;
      if (server && page.text.includes('/moodle')) await makeMoodle(server.url);
      const terminal = opened.use(new Terminal(server ? { 'db.example.org:5432': new URL(server.url).host } : {}));
      const commands = page.blocks.flatMap(block => (isProgram(block) ? block.text : enteredOf(block)));
      // All others begin with the roles and the database that this page makes.
      if (server && !page.text.includes('create database'))
        for (const { text } of pageAt('docs/database.md').blocks.slice(0, 1)) await enterSql(text, server.url);
      if (!isStart(commands[0]!) && commands.some(command => /50051|npm run cli|backupctl/.test(command)) && !server)
        await terminal.enter('npm start');
      for (const block of page.blocks) {
        if (block.language === 'sql') await enterSql(block.text, server?.url ?? assert.fail('SQL needs a server'));
        if (isProgram(block))
          await terminal.runProgram(`line-${block.line}.ts`, block.text, expectedOf(page, block.text));
        for (const command of enteredOf(block)) await terminal.enter(command, expectedOf(page, command));
      }
      await terminal.finish();
    });
});

/** As the page names it, with a few rows. */
async function makeMoodle(serverUrl: string): Promise<void> {
  await enterSql("create role moodle login password 'secret';\ncreate database moodle owner moodle;\n", serverUrl);
  const url = Object.assign(new URL(serverUrl), { username: 'moodle', password: 'secret', pathname: '/moodle' });
  await using moodle = await openPostgresMoodle(url.href);
  await createTables(moodle);
  await fill(moodle);
}

function isProgram({ language }: Block): boolean {
  return language === 'ts';
}

function isShell({ language }: Block): boolean {
  return language === 'sh';
}

/** The commands of a block that are entered, without those that are left out, here or everywhere. */
function enteredOf(block: Block): string[] {
  if (!isShell(block)) return [];
  const left = [...LEFT_OUT, ...MISSING];
  const entered = (command: string) => partsOf(command).filter(part => !left.some(([pattern]) => pattern.test(part)));
  return commandsOf(block)
    .map(command => entered(command).join(' && '))
    .filter(command => command !== '');
}

function partsOf(command: string): string[] {
  return command.split(' && ');
}

function expectedOf({ path }: Page, command: string) {
  return EXPECTED[path]?.find(([pattern]) => pattern.test(command))?.[1];
}

/** Whether its commands make roles and databases, which tests must not share. */
function needsServer({ blocks }: Page): boolean {
  return blocks.some(({ language, text }) => language === 'sql' || text.includes('db.example.org'));
}

async function ownServer(): Promise<AsyncDisposable & { url: string }> {
  await using opening = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'backup-management-docs-postgres-'));
  opening.defer(() => rmSync(folder, { recursive: true, force: true }));
  const { url } = opening.use(await startEmbeddedPostgres({ dataDir: folder, durable: false }));
  const open = opening.move();
  return { url, [Symbol.asyncDispose]: () => open.disposeAsync() };
}
