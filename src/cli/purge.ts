import { Command, Option } from 'commander';
import { age, backupId, someOf } from './arguments.ts';
import type { Runner } from './runner.ts';

export function purgeCommand(run: Runner): Command {
  const purge = new Command('purge')
    .description('delete what is old: runs with their logs, or log entries alone')
    .addHelpText('after', HELP);
  purge.addCommand(controllersCommand(run));
  purge.addCommand(logsCommand(run));
  return purge;
}

const ABOUT_ASKING = `
It first counts what would go, and then asks on a terminal; elsewhere it does nothing without --yes. What was deleted before it was stopped stays
deleted. What goes by itself, and when, says backupctl doctor.`;

const HELP = `${ABOUT_ASKING}

Examples:
  backupctl purge controllers --older-than 90d --dry-run
  backupctl purge logs --older-than 30d --yes`;

function controllersCommand(run: Runner): Command {
  return both(
    new Command('controllers')
      .description(
        'runs that nothing has changed for a time, with their logs and payloads; never one that a worker holds',
      )
      .requiredOption('--older-than <age>', 'what nothing has changed for longer than this: 12h, 90d', age)
      .option(
        '--status <names>',
        'any of these instead: awaiting, created and so on (finished-err, finished-ok)',
        someOf(RUN_STATUSES),
      )
      .addHelpText('after', CONTROLLERS_HELP),
  ).action(run(async () => (await import('./purge/purge.ts')).purgeControllers));
}

const CONTROLLERS_HELP = `${ABOUT_ASKING}

Examples:
  backupctl purge controllers --older-than 90d --dry-run
  backupctl purge controllers --older-than 2d --status setting-ui --yes`;

function logsCommand(run: Runner): Command {
  return both(
    new Command('logs')
      .description('log entries by age, from the front of each log; those without a controller too')
      .argument('[backup id]', 'only of this log; then the age may be left out, and all its entries go', backupId)
      .option('--older-than <age>', 'entries older than this: 12h, 90d', age)
      .addHelpText('after', LOGS_HELP),
  ).action(run(async () => (await import('./purge/purge.ts')).purgeLogs));
}

const LOGS_HELP = `${ABOUT_ASKING}

Examples:
  backupctl purge logs --older-than 30d --dry-run
  backupctl purge logs 0123456789abcdef0123456789abcdef --yes`;

function both(command: Command): Command {
  return command
    .addOption(new Option('--dry-run', 'only say what would go').conflicts('yes'))
    .option('--yes', 'do not ask');
}

const RUN_STATUSES = [
  'created',
  'require-conv',
  'planned',
  'configured',
  'setting-ui',
  'need-precheck',
  'awaiting',
  'executing',
  'finished-err',
  'finished-ok',
] as const;
