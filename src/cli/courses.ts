import { Command } from 'commander';
import { age, choice, id, instant, later, someOf, text, wholeNumber } from './arguments.ts';
import type { Runner } from './runner.ts';

export function coursesCommand(run: Runner): Command {
  const courses = new Command('courses').description('the automated backup of each course').addHelpText('after', HELP);
  courses.addCommand(reportCommand(run));
  courses.addCommand(dueCommand(run));
  courses.addCommand(getCommand(run));
  courses.addCommand(runCommand(run));
  courses.addCommand(skipCommand(run));
  courses.addCommand(scheduleCommand(run));
  return courses;
}

const HELP = `
Examples:
  backupctl courses report
  backupctl courses get 42
  backupctl courses run 42 43`;

const COURSE_STATUSES = ['ok', 'unfinished', 'skipped', 'warning', 'not-yet-run', 'queued', 'error'] as const;
const ORDERS = ['problems', 'next-start', 'last-start', 'last-end'] as const;

function reportCommand(run: Runner): Command {
  return new Command('report')
    .description('how the last backup of every course went, what has to be looked at first')
    .option('--status <names>', `any of ${COURSE_STATUSES.join(', ')}, with commas`, someOf(COURSE_STATUSES))
    .option('--due', 'only those whose next start has come, or that somebody has asked for')
    .option('--overdue <time>', 'only those that have been due for longer than this: 1h, 2d', age)
    .option('--never-run', 'only those that have never started')
    .option('--failing-since <time>', 'only those that failed then or later: 2d, or 2026-11-26T02:30', instant)
    .option(
      '--order <order>',
      `${ORDERS.join(', ')} (problems: what failed or is late, the oldest first)`,
      choice(ORDERS),
      'problems',
    )
    .option('--limit <n>', 'at most so many', wholeNumber(1, 1_000_000))
    .addHelpText('after', REPORT_HELP)
    .action(run(async () => (await import('./courses/report.ts')).report));
}

const REPORT_HELP = `
DURATION is from start to end of the last run, or so far. ERRORS and WARNINGS count what it logged.

Examples:
  backupctl courses report
  backupctl courses report --status error,warning --failing-since 2d
  backupctl courses report --overdue 1h --output json | jq -r '.courses[].courseId'`;

function dueCommand(run: Runner): Command {
  return new Command('due')
    .description('courses that wait for a worker, the longest due first')
    .option('--overdue <time>', 'only those that have been due for longer than this: 1h, 2d', age)
    .option('--limit <n>', 'at most so many', wholeNumber(1, 1_000_000))
    .addHelpText('after', DUE_HELP)
    .action(run(async () => (await import('./courses/due.ts')).due));
}

const DUE_HELP = `
Examples:
  backupctl courses due
  backupctl courses due --overdue 2h --output yaml`;

function getCommand(run: Runner): Command {
  return new Command('get')
    .description('one course, and what became of its last starts')
    .argument('<course>', 'its number', id)
    .option('--runs <n>', 'how many starts', wholeNumber(0, 1000), 5)
    .addHelpText('after', GET_HELP)
    .action(run(async () => (await import('./courses/get.ts')).getCourse));
}

const GET_HELP = `
JSON and YAML have the course alone.

Examples:
  backupctl courses get 42
  backupctl courses get 42 --runs 30 --times relative`;

function runCommand(run: Runner): Command {
  return new Command('run')
    .description('ask for a backup now, whatever the schedule says')
    .argument('<courses...>', 'their numbers', ids)
    .addHelpText('after', RUN_HELP)
    .action(run(async () => (await import('./courses/change.ts')).runNow));
}

const RUN_HELP = `
A worker takes it when it is free. Several are asked for one after the other; the first one that is refused (it runs already) ends the command.

Examples:
  backupctl courses run 42
  backupctl courses due --overdue 1d -o json | jq -r '.courses[].courseId' | xargs backupctl courses run`;

function skipCommand(run: Runner): Command {
  return new Command('skip')
    .description('leave the start out that is due, or else the coming one')
    .argument('<courses...>', 'their numbers', ids)
    .requiredOption('--reason <text>', 'why; it stands in the record of that start', text)
    .option(
      '--next-start <time>',
      'when it is due after that: 2h, or 2026-11-26T02:30; else as its schedule says',
      later,
    )
    .addHelpText('after', SKIP_HELP)
    .action(run(async () => (await import('./courses/change.ts')).skip));
}

const SKIP_HELP = `
Examples:
  backupctl courses skip 42 --reason "exam week"
  backupctl courses skip 42 43 --reason "storage moves" --next-start 2026-12-01T02:30`;

function scheduleCommand(run: Runner): Command {
  return new Command('schedule')
    .description('give courses a schedule of their own, or that of the service, or a next start; new courses are made')
    .argument('<courses...>', 'their numbers', ids)
    .option('--weekly <schedule>', 'seven digits from Sunday, time and zone: "0111110 02:30 Europe/Berlin"', text)
    .option('--cron <schedule>', 'five fields and a zone: "30 2 * * 1-5 Europe/Berlin"', text)
    .option('--default', 'no schedule of their own any more: that of the service')
    .option('--next-start <time>', 'when they are due next: 2h, or 2026-11-26T02:30; the schedule stays', later)
    .option('--preview <n>', 'change nothing, say when the schedule starts next', wholeNumber(1, 1000))
    .addHelpText('after', SCHEDULE_HELP)
    .action(run(async () => (await import('./courses/schedule.ts')).schedule));
}

const SCHEDULE_HELP = `
Examples:
  backupctl courses schedule 42 --weekly "0111110 02:30 Europe/Berlin"
  backupctl courses schedule 42 --weekly "0111110 02:30 Europe/Berlin" --preview 5
  backupctl courses schedule 42 43 --next-start 2h
  backupctl courses schedule 42 --default`;

function ids(given: string, before: bigint[] = []): bigint[] {
  return [...before, ...given.split(',').map(id)];
}
