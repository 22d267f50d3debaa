import { Command } from 'commander';
import { canaryCommand } from './canary.ts';
import { engineCommand } from './engine.ts';
import { importCommand } from './import.ts';
import { migrateCommand } from './migrate.ts';

const program = new Command('backup-management')
  .description('Tools for those who run Backup Management.')
  .addCommand(importCommand(process.env))
  .addCommand(canaryCommand())
  .addCommand(migrateCommand(process.env))
  .addCommand(engineCommand(process.env));
tellWrongUse(program);
await program.parseAsync();

/** What was called wrongly ends with 2, which is not what a command says of its work. */
function tellWrongUse(command: Command): void {
  command.showHelpAfterError('(--help tells more)');
  command.exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2));
  command.commands.forEach(tellWrongUse);
}
