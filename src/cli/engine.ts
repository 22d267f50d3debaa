import { Argument, Command } from 'commander';
import { type Engine, engines } from '../db/engine.ts';
import { moveTo, readState } from '../db/move.ts';

type Environment = Record<string, string | undefined>;

/** `environment` has the service's own settings. */
export function engineCommand(environment: Environment): Command {
  return new Command('engine')
    .description("Say how the service's database is laid out, or move it to another engine while replicas serve.")
    .addArgument(new Argument('[engine]', 'what to move it to').choices(engines))
    .option('--to <url>', 'the database; else DATABASE_DIRECT_URL, else DATABASE_URL')
    .addHelpText('after', HELP)
    .action((engine: Engine | undefined, { to }: { to?: string }, command: Command) => {
      const url = to ?? environment['DATABASE_DIRECT_URL'] ?? environment['DATABASE_URL'];
      if (!url) command.error('no database is given: use --to or set DATABASE_URL');
      return run(url, engine);
    });
}

const HELP = `
As the role that owns the tables. It takes as much room again as the tables that are moved, and may be stopped and begun again at any time; called
with the engine that the database has, it undoes what was begun. All replicas must be of this version. They serve meanwhile, and go on when it is
done; the next one that starts needs ENGINE to say the new engine.

To citus, and from it, the last step waits until all replicas have been stopped; those that are started with the new ENGINE wait for it. To citus it
is short; from it everything is copied then.

Exit code: 0 when the database is what it should be, 1 when not, 2 for a wrong command line.`;

async function run(url: string, engine: Engine | undefined): Promise<void> {
  try {
    if (!engine) return console.log(await readState(url));
    let line = '';
    const tell = (now: string) => {
      if (now !== line) console.log(now);
      line = now;
    };
    const held = await moveTo(
      url,
      engine,
      (table, rows) => tell(`copied of ${table}: ${Math.floor(rows / STEP) * STEP}`),
      connections =>
        tell(`stop the replicas, and start them with ENGINE=${engine}: they have ${connections} connections`),
    );
    if (held === undefined) console.log(`the database is ${engine}`);
    else console.log(`the database is ${engine} now; others waited for ${Math.ceil(held)} ms: set ENGINE=${engine}`);
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    console.error(`the database is what it was: ${message || code}`);
    process.exitCode = 1;
  }
}

/** Rows between two lines. */
const STEP = 100_000;
