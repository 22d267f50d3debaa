import { strict as assert } from 'node:assert';
import type { Command } from 'commander';
import { createProgram } from '../../../src/cli/program.ts';

// What needs the database has examples of its own, and no settings of the network.
const all = everyone(createProgram('backupctl', {})).filter(command => !command.name().startsWith('__'));

describe('The help of backupctl', () => {
  it('has examples for every command, which name it as it is called and use what it has', () => {
    assert.ok(all.length > 8);
    for (const command of all) {
      const examples =
        helpOf(command)
          .split('\nExamples:\n')[1]
          ?.split('\n')
          .filter(line => line.trim() !== '') ?? [];
      assert.ok(examples.length > 0, `${pathOf(command)} has no examples`);
      assert.ok(
        examples.some(line => line.includes(pathOf(command))),
        `${pathOf(command)} is in none of its examples`,
      );
      const known = all.flatMap(({ options }) => options.map(({ long }) => long));
      for (const [flag] of examples
        .join('\n')
        .replace(/\| .*/g, '')
        .matchAll(/(?<=\s)--[a-z-]+/g)) {
        assert.ok(known.includes(flag), `${pathOf(command)}: there is no ${flag}`);
      }
    }
  });

  it('lists own options first, and then those of the connection and of the output, in every command', () => {
    for (const command of all) {
      const headings = [...helpOf(command).matchAll(/^(\w[\w ]*):$/gm)].map(([, heading]) => heading);
      const order = ['Options', 'Connection', 'Output'].map(heading => headings.indexOf(heading));
      assert.ok(
        order.every(at => at >= 0),
        pathOf(command),
      );
      assert.deepEqual(
        order,
        order.toSorted((a, b) => a - b),
        `${pathOf(command)}: ${headings}`,
      );
    }
  });

  it('says what every command and every option is', () => {
    for (const command of all) {
      assert.ok(command.description().length > 10, pathOf(command));
      for (const { description, long } of command.options)
        assert.ok(description.length > 3, `${pathOf(command)} ${long}`);
    }
  });

  it('lists the exit codes', () => {
    const help = helpOf(all[0]!);
    for (const code of [0, 1, 2, 3, 4, 5, 6]) assert.match(help, new RegExp(`^ {2}${code}  `, 'm'));
  });
});

function everyone(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyone)];
}

function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}

function helpOf(command: Command): string {
  let help = '';
  command.configureOutput({
    writeOut: text => {
      help += text;
    },
  });
  command.outputHelp();
  return help;
}
