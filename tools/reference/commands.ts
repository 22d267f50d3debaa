import type { Argument, Command, Option } from 'commander';
import { canaryCommand } from '../../src/cli/canary.ts';
import { engineCommand } from '../../src/cli/engine.ts';
import { importCommand } from '../../src/cli/import.ts';
import { migrateCommand } from '../../src/cli/migrate.ts';
import { createProgram } from '../../src/cli/program.ts';
import { settingOptions } from '../../src/cli/settings.ts';
import { paragraphs, slug, table } from './markdown.ts';

/** Every command, as commander knows it. */
export function commandsPage(): string {
  const remote = createProgram('backupctl', {});
  const local = [importCommand({}), canaryCommand(), migrateCommand({}), engineCommand({})];
  const leaves = [...leavesOf(remote), ...local.flatMap(command => leavesOf(command, 'backupctl'))];
  return paragraphs(
    '# Commands',
    `\`npm run cli --\` in this repository, \`backupctl\` where the client's package is installed. The last ones (${local.map(command => `\`${command.name()}\``).join(', ')}) need the repository and its database.`,
    table(
      ['command', ''],
      leaves.map(({ path, command }) => [`[${path}](#${slug(path)})`, command.description()]),
    ),
    ...leaves.map(section),
    '## Options of all commands',
    optionTable(remote.options),
    fenced(after(remote)),
  );
}

type Leaf = { path: string; command: Command };

function leavesOf(command: Command, above = ''): Leaf[] {
  const path = `${above} ${command.name()}`.trim();
  if (command.commands.length === 0) return [{ path, command }];
  const visible = command.createHelp().visibleCommands(command);
  return visible.filter(one => one.name() !== 'help').flatMap(one => leavesOf(one, path));
}

function section({ path, command }: Leaf): string {
  const common = new Set(settingOptions().map(({ long }) => long));
  return paragraphs(
    `## ${path}`,
    fenced(`${path} ${command.usage()}`),
    command.description(),
    table(['argument', ''], command.registeredArguments.map(argumentRow)),
    optionTable(command.options.filter(({ long }) => !common.has(long))),
    fenced(after(command)),
  );
}

function argumentRow(argument: Argument): string[] {
  const name = argument.required ? `<${argument.name()}>` : `[${argument.name()}]`;
  return [`\`${name}\``, withDefault(argument.description, argument.defaultValue)];
}

function optionTable(options: readonly Option[]): string {
  return table(
    ['option', ''],
    options
      .filter(({ hidden }) => !hidden)
      .map(({ flags, description, defaultValue, mandatory }) => [
        `\`${flags}\``,
        withDefault(description, defaultValue) + (mandatory ? ' (required)' : ''),
      ]),
  );
}

function withDefault(description: string, value: unknown): string {
  return value === undefined || value === false ? description : `${description} (default \`${value}\`)`;
}

/** What its help says behind the options. */
function after(command: Command): string {
  let said = '';
  command.configureOutput({ writeOut: text => (said += text) });
  command.outputHelp();
  return said.slice(command.helpInformation().length).trim();
}

function fenced(text: string): string {
  return text && `\`\`\`text\n${text}\n\`\`\``;
}
