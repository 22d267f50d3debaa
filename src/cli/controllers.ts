import { Command, InvalidArgumentError, Option } from 'commander';
import {
  ExecutionSchema,
  OperationSchema,
  PurposeSchema,
  StatusSchema,
  TypeSchema,
} from '../gen/backup/v1/controller_pb.ts';
import { backupId, backupIds, file, id, instant, later, limit, text, wholeNumber } from './arguments.ts';
import { filterOptions } from './filter.ts';
import { nameIn, namesIn } from './names.ts';
import type { Runner } from './runner.ts';

export function controllersCommand(run: Runner): Command {
  const controllers = new Command('controllers')
    .description('runs of backups and restores: see them, watch them, cancel and retry them')
    .addHelpText('after', HELP);
  for (const command of [list, get, watch, create, cancel, retry, payload]) controllers.addCommand(command(run));
  return controllers;
}

const HELP = `
Examples:
  backupctl controllers list --status executing
  backupctl controllers watch --course 42
  backupctl controllers cancel 0123456789abcdef0123456789abcdef --reason "maintenance"`;

function list(run: Runner): Command {
  return filterOptions(new Command('list').description('runs, the newest first'), { statuses: true })
    .option('--since <time>', 'created then or later: 2h, or 2026-11-26T02:30', instant)
    .option('--oldest-first', 'in this order')
    .option('--limit <n>', 'at most so many, or all', limit, 50)
    .addHelpText('after', LIST_HELP)
    .action(run(async () => (await import('./controllers/list.ts')).listControllers));
}

const LIST_HELP = `
Examples:
  backupctl controllers list --status executing,awaiting
  backupctl controllers list --course 42 --since 7d --limit all -o json | jq -r '.controllers[].backupId'`;

function get(run: Runner): Command {
  return new Command('get')
    .description('one run, with all that is known of it')
    .argument('<backup id>', 'of which run', backupId)
    .addHelpText('after', GET_HELP)
    .action(run(async () => (await import('./controllers/list.ts')).getController));
}

const GET_HELP = `
Examples:
  backupctl controllers get 0123456789abcdef0123456789abcdef
  backupctl controllers get 0123456789abcdef0123456789abcdef -o json | jq .lease.worker`;

function watch(run: Runner): Command {
  const command = new Command('watch')
    .description('runs live: a bar for each one, with how fast it goes and when it will be done')
    .argument('[backup ids...]', 'these, up to 1000; else those of a filter, or all that are not finished', backupIds);
  return filterOptions(command, { statuses: true })
    .option('--until-finished', 'end when all of the backups that are named have finished')
    .option('-q, --quiet', 'say nothing on stderr about connections')
    .addHelpText('after', WATCH_HELP)
    .action(run(async () => (await import('./controllers/watch.ts')).watchControllers));
}

const WATCH_HELP = `
Runs that have ended stay above the bars with their outcome. Without a terminal there is a line for each change, at most one for each percent;
with -o json an object for each state of a run, and {"backupId": ..., "removed": true} for one that was deleted or matches no longer. When the
connection breaks it goes on where it was. The rate is that of the last minute.

Exit code: 0 at the end of what was asked for; 7 with --until-finished when a run has failed, was cancelled or lost; 130 after Ctrl-C; others
as in backupctl --help.

Examples:
  backupctl controllers watch
  backupctl controllers watch --purpose automated
  backupctl controllers watch 0123456789abcdef0123456789abcdef --until-finished`;

function create(run: Runner): Command {
  const type = new Option('--type <name>', 'what it covers: activity, section or course').argParser(nameIn(TypeSchema));
  return new Command('create')
    .description('create a run; prints its backup id')
    .addOption(
      new Option('--operation <name>', 'backup or restore').argParser(nameIn(OperationSchema)).makeOptionMandatory(),
    )
    .addOption(new Option('--course <number>', 'of this course as a whole').argParser(id).conflicts(['type', 'item']))
    .addOption(type)
    .option('--item <number>', 'the course, section or activity', id)
    .addOption(
      new Option('--purpose <name>', 'such as general, async or automated; or a number')
        .argParser(purpose)
        .default(10, 'general'),
    )
    .option('--user <number>', 'who owns it', id)
    .option('--status <name>', 'where it stands, such as awaiting; else created', nameIn(StatusSchema))
    .option('--execution <name>', 'immediate or delayed; else as its purpose says', nameIn(ExecutionSchema))
    .option('--exclusive', 'only if there is no other unfinished one of its operation, type and item')
    .option('--max-attempts <n>', 'how often it may be begun before the loss of a worker ends it', wholeNumber(1, 100))
    .option('--backup-id <id>', 'else it gets one', backupId)
    .addHelpText('after', CREATE_HELP)
    .action(run(async () => (await import('./controllers/change.ts')).createController));
}

const CREATE_HELP = `
Examples:
  backupctl controllers create --operation backup --course 42 --purpose async --status awaiting
  ./backup.sh 2>&1 | backupctl logs append "$(backupctl controllers create --operation backup --course 42)"`;

function cancel(run: Runner): Command {
  return new Command('cancel')
    .description('end runs that nobody works on, and ask the workers of the others to stop')
    .argument('<backup ids...>', 'which runs', backupIds)
    .option('--reason <text>', 'for the log', text)
    .addHelpText('after', CANCEL_HELP)
    .action(run(async () => (await import('./controllers/change.ts')).cancelControllers));
}

const CANCEL_HELP = `
All are tried; the exit code is that of the first one that was refused.

Examples:
  backupctl controllers cancel 0123456789abcdef0123456789abcdef --reason "maintenance"
  backupctl controllers list --status awaiting -o json --limit all | jq -r '.controllers[].backupId' | xargs backupctl controllers cancel`;

function retry(run: Runner): Command {
  return new Command('retry')
    .description('put failed runs back into the queue')
    .argument('<backup ids...>', 'which runs', backupIds)
    .option('--at <time>', 'not before this time: 2h, or 2026-11-26T02:30; else at once', later)
    .addHelpText('after', RETRY_HELP)
    .action(run(async () => (await import('./controllers/change.ts')).retryControllers));
}

const RETRY_HELP = `
All are tried; the exit code is that of the first one that was refused.

Examples:
  backupctl controllers retry 0123456789abcdef0123456789abcdef
  backupctl controllers list --status finished-err --since 1d -o json --limit all | jq -r '.controllers[].backupId' | xargs backupctl controllers retry`;

function payload(run: Runner): Command {
  const command = new Command('payload')
    .description('the serialised controller of a run')
    .addHelpText('after', PAYLOAD_HELP);
  command
    .command('download')
    .description('write it to a file or to standard output; proved by its MD5')
    .argument('<backup id>', 'of which run', backupId)
    .argument('[file]', 'is there when it is complete; - or none: standard output', file)
    .option('--force', 'replace a file that is there')
    .addHelpText('after', PAYLOAD_HELP)
    .action(run(async () => (await import('./controllers/download.ts')).downloadPayload));
  command
    .command('upload')
    .description('replace it by a file or by standard input; proved by its MD5')
    .argument('<backup id>', 'of which run', backupId)
    .argument('[file]', '- or none: standard input', file)
    .addHelpText('after', PAYLOAD_HELP)
    .action(run(async () => (await import('./controllers/upload.ts')).uploadPayload));
  return command;
}

const PAYLOAD_HELP = `
Examples:
  backupctl controllers payload download 0123456789abcdef0123456789abcdef controller.bin
  backupctl controllers payload upload 0123456789abcdef0123456789abcdef < controller.bin`;

function purpose(given: string): number {
  const [first, ...more] = namesIn(PurposeSchema, { numbers: true })(given);
  if (more.length > 0) throw new InvalidArgumentError('must be one');
  return first!;
}
