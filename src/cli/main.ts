import { canaryCommand } from './canary.ts';
import { importCommand } from './import.ts';
import { migrateCommand } from './migrate.ts';
import { createProgram, tellWrongUse } from './program.ts';

// All of backupctl, and what needs the database or the sources.
const program = createProgram('backupctl', process.env);
for (const command of [importCommand(process.env), canaryCommand(), migrateCommand(process.env)]) {
  program.addCommand(command);
  for (const one of [command, ...command.commands]) tellWrongUse(one);
}
await program.parseAsync();
