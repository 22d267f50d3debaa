import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../../../src/db/embedded.ts';
import { EXPECTED, LEFT_OUT } from './expected.ts';
import { type Block, commandsOf, type Page, pages } from './pages.ts';
import { enterSql } from './sql.ts';
import { isStart, Terminal } from './terminal.ts';

describe('Commands of the documentation', () => {
  it('are all known: no expectation is about a command that is gone', () => {
    for (const [path, expected] of Object.entries(EXPECTED)) {
      const commands = pages.find(page => page.path === path)?.blocks.flatMap(enteredOf) ?? [];
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

  for (const page of pages.filter(({ blocks }) => blocks.some(block => isShell(block) && enteredOf(block).length > 0)))
    it(`work as they stand in ${page.path}`, async function () {
      this.timeout(300_000);
      if (page.text.includes('openssl req') && spawnSync('openssl', ['version']).error) {
        console.log('      openssl is not installed here: this is left out');
        this.skip();
      }
      await using opened = new AsyncDisposableStack();
      const server = needsServer(page) ? opened.use(await ownServer()) : undefined;
      const terminal = opened.use(new Terminal(server ? { 'db.example.org': new URL(server.url).host } : {}));
      const commands = page.blocks.flatMap(enteredOf);
      if (!isStart(commands[0]!) && commands.some(command => /50051|npm run cli|backupctl/.test(command)) && !server)
        await terminal.enter('npm start');
      for (const block of page.blocks) {
        if (block.language === 'sql') await enterSql(block.text, server?.url ?? assert.fail('SQL needs a server'));
        for (const command of enteredOf(block)) await terminal.enter(command, expectedOf(page, command));
      }
      await terminal.finish();
    });
});

function isShell({ language }: Block): boolean {
  return language === 'sh';
}

/** The commands of a block that are entered, without those that are left out. */
function enteredOf(block: Block): string[] {
  if (!isShell(block)) return [];
  return commandsOf(block)
    .map(command =>
      partsOf(command)
        .filter(part => !LEFT_OUT.some(([left]) => left.test(part)))
        .join(' && '),
    )
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
