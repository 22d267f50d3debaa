import { Command, Help } from 'commander';
import { version } from '../version.ts';
import { addCommands } from './commands.ts';
import { EXIT, EXIT_HELP } from './failure.ts';
import type { Environment } from './runner.ts';
import { settingOptions } from './settings.ts';

/** `backupctl` with all that needs only the network. */
export function createProgram(name: string, environment: Environment): Command {
  const program = new Command(name)
    .description('What operators do with Backup Management: see how the backups are, tail logs, run, skip and purge.')
    .version(version(), '-V, --version', 'print the version of this program')
    .addHelpText('after', HELP);
  addCommands(program, environment);
  configureAll(program);
  return program;
}

const HELP = `
Every option of the groups Connection and Output can stand in the environment (--tls-ca as BACKUPCTL_TLS_CA) and, under its name without the
dashes, in the configuration file, at its top or in a context; flags go before environment before file:

  context: production
  contexts:
    production: { address: "backup-1:50051,backup-2:50051", tls-ca: ca.crt, token-file: token }
    laptop: { address: 127.0.0.1:50051 }
${EXIT_HELP}

Examples:
  backupctl summary
  backupctl courses report --status error --output json
  backupctl doctor --context production`;

/** Options may stand before a command and after it. What was called wrongly ends with 2, which is not what a command says of its work. */
function configureAll(command: Command): void {
  for (const option of settingOptions()) command.addOption(option);
  tellWrongUse(command);
  command.enablePositionalOptions();
  command.configureHelp({ groupItems: ownFirst });
  command.commands.forEach(configureAll);
}

/** What all commands have comes last. */
const ownFirst: Help['groupItems'] = (all, visible, groupOf) => {
  const groups = [...Help.prototype.groupItems(all, visible, groupOf)];
  const rank = (heading: string) => ['Connection:', 'Output:', 'Commands:'].indexOf(heading);
  return new Map(groups.sort(([a], [b]) => rank(a) - rank(b)));
};

export function tellWrongUse(command: Command): void {
  command.showHelpAfterError('(--help tells more)');
  command.exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? EXIT.OK : EXIT.WRONG_USE));
}
