import { Command, Option } from 'commander';
import { LogLevel, LogLevelSchema } from '../gen/backup/v1/entry_pb.ts';
import { backupId, backupIds, file, instant, limit, text, wholeNumber } from './arguments.ts';
import { filterOptions } from './filter.ts';
import { nameIn } from './names.ts';
import type { Runner } from './runner.ts';

export function logsCommand(run: Runner): Command {
  const logs = new Command('logs')
    .description('what runs write: follow it live, list it, add to it')
    .addHelpText('after', HELP);
  logs.addCommand(tailCommand(run));
  logs.addCommand(appendCommand(run));
  logs.addCommand(listCommand(run));
  logs.addCommand(summaryCommand(run));
  return logs;
}

const HELP = `
Examples:
  backupctl logs tail --course 42
  backupctl logs list 0123456789abcdef0123456789abcdef --level warning
  ./backup.sh 2>&1 | backupctl logs append 0123456789abcdef0123456789abcdef --detect-level --tee`;

function tailCommand(run: Runner): Command {
  const tail = new Command('tail')
    .description('follow logs live, each entry once, whatever breaks in between')
    .argument('[backup ids...]', 'up to 100 backups; a filter or --all instead', backupIds);
  filterOptions(tail)
    .addOption(new Option('--all', 'all logs, those without a controller too').helpGroup('Which runs:'))
    .addOption(levelOption())
    .addOption(
      start(
        '--tail <n>',
        'begin with the last n entries of each backup; 0: only what is new',
        wholeNumber(0, 1_000_000),
      ),
    )
    .addOption(start('--since <time>', 'begin with what was written since then: 10m, or 2026-11-26T02:30', instant))
    .addOption(
      start(
        '--from-start',
        'begin with the first entry; usual for backups that are named, for others only what is new',
      ),
    )
    .addOption(start('--resume-token <token>', 'go on where the tail was that gave this (-o json)', text))
    .option('--resume-file <file>', 'keep in this file how far it came, and go on exactly there the next time', file)
    .option('--no-follow', 'end after what is there')
    .option('--until-finished', 'end when all of the backups have finished and their last entries are here')
    .option('--ids', 'with the number of each entry within its backup')
    .option('--no-time', 'without times')
    .option('-q, --quiet', 'entries only: nothing on stderr about connections and changes of status')
    .addHelpText('after', TAIL_HELP)
    .action(run(async () => (await import('./logs/tail.ts')).tailLogs));
  return tail;
}

const TAIL_HELP = `
When the connection breaks or a replica goes away it goes on where it was, for as long as it takes: at another replica behind a name or a
balancer, or at one of several --address if those are IPv4 and without TLS. Entries go to standard output; what happens meanwhile (a change of status, a connection that broke, entries that retention has removed, that it falls behind)
goes to standard error. With -o json there is an object in each line; where it has a resumeToken, --resume-token goes on behind it.

Exit code: 0 at the end of what was asked for, also when whoever reads has had enough (| head); 7 with --until-finished when a run has failed, was
cancelled or lost; 130 after Ctrl-C; others as in backupctl --help. What was printed in the last moment before a kill -9 may come again
from a --resume-file; nothing is left out.

Examples:
  backupctl logs tail 0123456789abcdef0123456789abcdef
  backupctl logs tail --course 42 --level warning --since 1h
  backupctl logs tail --purpose automated -o json | jq -r .message
  backupctl logs tail --all --resume-file /var/lib/shipper/position -o json | ship`;

function appendCommand(run: Runner): Command {
  return new Command('append')
    .description('append standard input to a log, line by line')
    .argument('<backup id>', 'whose log; it needs no controller', backupId)
    .addOption(new Option('--level <level>', 'of the lines').argParser(level).default(LogLevel.INFO, 'info'))
    .option('--detect-level', 'the level that a line begins with (ERROR, [warn], 2026-11-26 02:30 DEBUG), else --level')
    .option('--tee', 'copy standard input to standard output, too')
    .option('--max-line <bytes>', 'what is longer becomes several entries', wholeNumber(1024, 1_048_576), 1_048_576)
    .option('-q, --quiet', 'do not say at the end how many were kept')
    .addHelpText('after', APPEND_HELP)
    .action(run(async () => (await import('./logs/append.ts')).appendLogs));
}

const APPEND_HELP = `
When the service is slow or away, whatever writes into the pipe waits; nothing is lost or doubled. Entries have the time at which their line was
read. A last line without an end counts. Bytes that are not UTF-8 become U+FFFD, and NUL becomes U+2400. Ctrl-C ends it when the
program in the pipe has ended, 5 s later at the latest, and keeps what was read; a second Ctrl-C ends it at once.

Exit code: 0 when every line was kept, or left out because the service keeps none of its level; 130 after Ctrl-C; others as in backupctl --help.

Examples:
  ./backup.sh 2>&1 | backupctl logs append 0123456789abcdef0123456789abcdef
  tail -F app.log | backupctl logs append 0123456789abcdef0123456789abcdef --detect-level --tee`;

function listCommand(run: Runner): Command {
  const list = new Command('list')
    .description('entries that are there')
    .argument('[backup id]', 'of this backup; a filter instead', backupId);
  return filterOptions(list, { statuses: true })
    .addOption(levelOption())
    .option('--since <time>', 'written then or later: 10m, or 2026-11-26T02:30', instant)
    .option('--until <time>', 'written before', instant)
    .option('--text <text>', 'whose message contains this, upper and lower case alike', text)
    .option('--newest-first', 'in this order; else the oldest first')
    .option('--limit <n>', 'at most so many, or all', limit, 100)
    .option('--ids', 'with the number of each entry within its backup')
    .option('--no-time', 'without times')
    .addHelpText('after', LIST_HELP)
    .action(run(async () => (await import('./logs/list.ts')).listLogs));
}

const LIST_HELP = `
Examples:
  backupctl logs list 0123456789abcdef0123456789abcdef --newest-first --limit 20
  backupctl logs list --course 42 --level error --since 7d --limit all
  backupctl logs list --status finished-err --text "disk full" -o json | jq -r .backupId | sort -u`;

function summaryCommand(run: Runner): Command {
  const summary = new Command('summary')
    .description('how many entries there are of each level')
    .argument('[backup id]', 'of this backup; a filter instead', backupId);
  return filterOptions(summary, { statuses: true })
    .option('--since <time>', 'written then or later: 10m, or 2026-11-26T02:30', instant)
    .option('--until <time>', 'written before', instant)
    .addHelpText('after', SUMMARY_HELP)
    .action(run(async () => (await import('./logs/summary.ts')).summarizeLogs));
}

const SUMMARY_HELP = `
Examples:
  backupctl logs summary 0123456789abcdef0123456789abcdef
  backupctl logs summary --purpose automated --since 24h`;

function levelOption(): Option {
  return new Option(
    '--level <level>',
    'only entries that are as important, or more: error, warning, info, debug',
  ).argParser(level);
}

const level = nameIn(LogLevelSchema, [LogLevel.NONE]);

const STARTS = ['tail', 'since', 'fromStart', 'resumeToken'];

function start(flags: string, about: string, parse?: (given: string) => unknown): Option {
  const option = new Option(flags, about).helpGroup('Where to begin:');
  option.conflicts(STARTS.filter(name => name !== option.attributeName()));
  return parse ? option.argParser(parse) : option;
}
