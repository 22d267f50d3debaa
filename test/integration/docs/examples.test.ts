import assert from 'node:assert/strict';
import type { Command } from 'commander';
import { canaryCommand } from '../../../src/cli/canary.ts';
import { engineCommand } from '../../../src/cli/engine.ts';
import { importCommand } from '../../../src/cli/import.ts';
import { migrateCommand } from '../../../src/cli/migrate.ts';
import { createProgram } from '../../../src/cli/program.ts';
import { pages, prose } from './pages.ts';

const program = createProgram('backupctl', {});
for (const command of [importCommand({}), canaryCommand(), migrateCommand({}), engineCommand({})])
  program.addCommand(command);

describe('Commands that are named', () => {
  it('exist with the options that they are named with', () => {
    const named = pages.flatMap(page => {
      const spans = [...prose(page).matchAll(/`([^`]+)`/g)].map(([, code]) => code!);
      // What the help says stands in the reference.
      const examples = page.blocks
        .filter(({ language }) => language === 'text')
        .flatMap(({ text }) => text.split('\n'));
      return [...spans, ...examples]
        .flatMap(text => [
          ...text.matchAll(/(?:^|[\s("$|])(?:npm run (?:--silent )?cli --|backupctl) ([a-z-][^|()<>…]*)/g),
        ])
        .map(([, words]) => ({ page: page.path, words: words!.trim().replace(/[.,:;]+$/, '') }));
    });
    assert.ok(named.length > 40, `${named.length}`);
    const strange = named.map(({ page, words }) => ({ page, words, wrong: wrongWith(words) }));
    assert.deepEqual(
      strange.filter(({ wrong }) => wrong).map(({ page, words, wrong }) => `${page}: ${words}: ${wrong}`),
      [],
    );
  });
});

/** What nobody would understand of a command; empty when all is known. */
function wrongWith(text: string): string {
  const words = text.split(/\s+/);
  let command: Command = program;
  for (const word of words) {
    const next = command.commands.find(one => one.name() === word);
    if (!next) break;
    command = next;
  }
  if (command === program && !/^-/.test(words[0]!)) return `there is no command ${words[0]}`;
  const options = chain(command).flatMap(one => one.options.flatMap(({ long, short }) => [long, short]));
  const unknown = words
    .map(word => /^--?[a-z][a-z-]*/.exec(word)?.[0])
    .filter(option => option !== undefined && !['--help', '-h', ...options].includes(option));
  return unknown.length > 0 ? `there is no option ${unknown.join(', ')}` : '';
}

function chain(command: Command): Command[] {
  return command.parent ? [command, ...chain(command.parent)] : [command];
}
