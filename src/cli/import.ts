import { MultiBar, type SingleBar } from 'cli-progress';
import { Command, InvalidArgumentError } from 'commander';
import pg from 'pg';
import { startEmbeddedPostgres } from '../db/embedded.ts';
import { readEngine, workOn } from '../db/engine.ts';
import { migrate } from '../db/migrate.ts';
import { sqlOn } from '../db/sql.ts';
import { importMoodle, isComplete, type Progress, type Tally } from '../moodle/import.ts';
import { openSource } from '../moodle/open.ts';
import { SourceError } from '../moodle/source.ts';

type Environment = Record<string, string | undefined>;

type Options = { from: string; to?: string; prefix: string; batchSize: number; json?: true };

/** `environment` has the service's own settings. */
export function importCommand(environment: Environment): Command {
  const moodle = new Command('moodle')
    .description('Copy controllers, courses and logs of a Moodle database into the service.')
    .requiredOption('--from <url>', 'the Moodle database: postgresql://, mysql:// or mariadb://')
    .option('--to <url>', "the service's database; else DATABASE_URL, else the embedded one of DATA_DIR")
    .option('--prefix <prefix>', "of Moodle's tables", 'mdl_')
    .option('--batch-size <rows>', 'rows in a transaction, 1 to 10000', wholeNumber, 2000)
    .option('--json', 'print the summary as JSON')
    .addHelpText('after', HELP)
    .action((options: Options) => run(options, environment));
  return new Command('import').description('Bring in what another system has.').addCommand(moodle);
}

const HELP = `
It may be stopped and repeated at any time, also while the service runs: what is there already is left as it is. Ids of controllers
and courses stay; entries of a log are numbered 1, 2, 3 in their order. One Moodle goes into one service: two have the same course ids.

Exit code: 0 when every row of the source is in the service, 1 when not, 2 for a wrong command line.

  npm run cli -- import moodle --from mysql://moodle:secret@db.example.org/moodle --to postgresql://backup@localhost/backup`;

async function run({ from, to, prefix, batchSize, json }: Options, environment: Environment): Promise<void> {
  try {
    await using source = await openSource(from, prefix);
    await using target = await openTarget(to ?? environment['DATABASE_URL'], environment['DATA_DIR']);
    using screen = process.stderr.isTTY ? bars() : lines();
    const tallies = await importMoodle(source, target.pool, { batchSize, progress: screen.progress });
    screen[Symbol.dispose]();
    console.log(json ? JSON.stringify(tallies, null, 2) : summaryOf(tallies));
    if (!tallies.every(isComplete)) process.exitCode = 1;
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    console.error(error instanceof SourceError ? message : `the import has failed: ${message || code}`);
    process.exitCode = 1;
  }
}

/** The service's database, with the schema of this version. */
async function openTarget(
  given: string | undefined,
  dataDir = '.data/postgres',
): Promise<AsyncDisposable & { pool: pg.Pool }> {
  await using opening = new AsyncDisposableStack();
  const url = given ?? opening.use(await startEmbeddedPostgres({ dataDir })).url;
  await migrate(url);
  const pool = new pg.Pool({ connectionString: url, application_name: 'backup-management import', max: 2 });
  // One that breaks while nothing uses it is told here only; whatever uses it next fails by itself.
  pool.on('error', () => {});
  opening.defer(() => pool.end());
  workOn(await readEngine(sqlOn(pool)));
  const open = opening.move();
  return { pool, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

function bars(): Disposable & { progress: Progress } {
  const all = new MultiBar({ format: '{bar} {percentage} % {value}/{total} {table}', stopOnComplete: true });
  const shown = new Map<string, SingleBar>();
  return {
    progress(table, done, of) {
      const bar = shown.get(table) ?? all.create(of, 0, { table });
      shown.set(table, bar);
      bar.update(done);
    },
    [Symbol.dispose]: () => all.stop(),
  };
}

/** A line every few seconds, for a log. */
function lines(): Disposable & { progress: Progress } {
  let last = Date.now();
  return {
    progress(table, done, of) {
      if (Date.now() - last < 5000) return;
      last = Date.now();
      console.error(`${table}: ${done} of ${of}`);
    },
    [Symbol.dispose]() {},
  };
}

function summaryOf(tallies: Tally[]): string {
  const rows = [
    ['', 'Moodle', 'here', 'imported', 'there before', 'refused'],
    ...tallies.map(({ table, source, imported, there, refused }) =>
      [table, source, imported + there, imported, there, refused.length].map(String),
    ),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)));
  const text = rows.map(row =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[i]!))).join('  '),
  );
  for (const { table, cleaned, refused } of tallies) {
    if (cleaned > 0)
      text.push(`${table}: ${cleaned} texts with NUL or broken characters, which were replaced by U+FFFD`);
    for (const { id, reason } of refused.slice(0, 10)) text.push(`${table}: row ${id} was refused: ${reason}`);
    if (refused.length > 10) text.push(`${table}: and ${refused.length - 10} more`);
  }
  return text.join('\n');
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > 10_000) {
    throw new InvalidArgumentError('must be a whole number from 1 to 10000');
  }
  return number;
}
