import { canaryCommand } from './canary.ts';
import { engineCommand } from './engine.ts';
import { importCommand } from './import.ts';
import { migrateCommand } from './migrate.ts';
import { createProgram, tellWrongUse } from './program.ts';

// All of backupctl, and what needs the database or the sources.
const program = createProgram('backupctl', process.env);
for (const command of [importCommand, canaryCommand, migrateCommand, engineCommand].map(make => make(process.env))) {
  program.addCommand(command);
  for (const one of [command, ...command.commands]) tellWrongUse(one);
}
await program.parseAsync();
