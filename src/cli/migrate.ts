import { Command } from 'commander';
import { type Engine, engines } from '../db/engine.ts';
import { migrate } from '../db/migrate.ts';

type Environment = Record<string, string | undefined>;

/** `environment` has the service's own settings. */
export function migrateCommand(environment: Environment): Command {
  return new Command('migrate')
    .description("Bring the schema of the service's database up to date, as the role that owns its tables.")
    .option('--to <url>', 'the database; else DATABASE_DIRECT_URL, else DATABASE_URL')
    .addHelpText('after', HELP)
    .action(({ to }: { to?: string }, command: Command) => {
      const url = to ?? environment['DATABASE_DIRECT_URL'] ?? environment['DATABASE_URL'];
      if (!url) command.error('no database is given: use --to or set DATABASE_URL');
      const engine = environment['ENGINE'] ?? 'plain';
      if (!isEngine(engine)) command.error(`ENGINE is ${engine}; there are: ${engines.join(', ')}`);
      return run(url, engine);
    });
}

const HELP = `
A database in which nothing was written yet is laid out as ENGINE says; \`engine\` moves one that has data. It may run while older replicas serve, and
at the same time as another one. All is one transaction: when something fails nothing has changed.

Exit code: 0 when the schema is up to date, 1 when not, 2 for a wrong command line.`;

function isEngine(text: string): text is Engine {
  return engines.some(engine => engine === text);
}

async function run(url: string, engine: Engine): Promise<void> {
  try {
    const names = await migrate(url, engine);
    console.log(names.length === 0 ? 'the schema is up to date' : names.map(name => `migrated: ${name}`).join('\n'));
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    console.error(`the migration has failed, and nothing has changed: ${message || code}`);
    process.exitCode = 1;
  }
}
