import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../../../../src/db/embedded.ts';
import { createTables, fill, openPostgresMoodle } from '../../moodle/moodle.ts';
import { EXPECTED, LEFT_OUT, NEEDS } from '../expected.ts';
import { type Block, commandsOf, type Page, pageAt, pages } from '../pages.ts';
import { enterSql } from '../sql.ts';
import { isStart, Terminal } from '../terminal.ts';

const MISSING = NEEDS.filter(([, program, args]) => spawnSync(program, args).status !== 0);

/** The pages whose commands take the longest, by the file that enters them: files run side by side. All others are entered by one more. */
export const GROUPS = {
  production: ['docs/production.md'],
  operation: ['docs/database.md', 'docs/monitoring.md', 'docs/network.md', 'docs/segments.md', 'docs/upgrade.md'],
  workers: ['docs/moodle.md', 'docs/tail.md', 'docs/worker.md'],
};

/** Tests that enter the commands of these pages, as they stand there. */
export function enterAll(paths: readonly string[]): void {
  for (const [, program] of MISSING) console.log(`left out, because ${program} is not all here: commands of it`);
  for (const path of paths)
    it(`work as they stand in ${path}`, async () => {
      await enterPage(pageAt(path));
    });
}

/** Pages that have something to enter. */
export const entered = pages.filter(({ blocks }) => blocks.some(block => commandsIn(block).length > 0));

/** What is entered of a block: a program as a whole, or command by command. */
export function commandsIn(block: Block): string[] {
  return isProgram(block) ? [block.text] : enteredOf(block);
}

/** Commands for a shell as they stand in all pages, also those that are left out. */
export function allCommands(): string[] {
  return pages.flatMap(({ blocks }) => blocks.filter(isShell).flatMap(commandsOf).flatMap(partsOf));
}

async function enterPage(page: Page): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const server = needsServer(page) ? opened.use(await ownServer()) : undefined;
  if (server && page.text.includes('/moodle')) await makeMoodle(server.url);
  const terminal = opened.use(new Terminal(server ? { 'db.example.org:5432': new URL(server.url).host } : {}));
  const commands = page.blocks.flatMap(commandsIn);
  // All others begin with the roles and the database that this page makes.
  if (server && !page.text.includes('create database'))
    for (const { text } of pageAt('docs/database.md').blocks.slice(0, 1)) await enterSql(text, server.url);
  if (!isStart(commands[0]!) && commands.some(command => /50051|npm run cli|backupctl/.test(command)) && !server)
    await terminal.enter('npm start');
  for (const block of page.blocks) {
    if (block.language === 'sql') await enterSql(block.text, server?.url ?? assert.fail('SQL needs a server'));
    if (isProgram(block)) await terminal.runProgram(`line-${block.line}.ts`, block.text, expectedOf(page, block.text));
    for (const command of enteredOf(block)) await terminal.enter(command, expectedOf(page, command));
  }
  await terminal.finish();
}

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
