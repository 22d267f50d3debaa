import { Command } from 'commander';
import { id } from './arguments.ts';
import type { Runner } from './runner.ts';

export function coursesCommand(run: Runner): Command {
  const courses = new Command('courses').description('the automated backup of each course').addHelpText('after', HELP);
  courses
    .command('get')
    .description('one course with its last run')
    .argument('<course>', 'its number', id)
    .addHelpText('after', GET_HELP)
    .action(run(async () => (await import('./courses/get.ts')).getCourse));
  return courses;
}

const HELP = `
Examples:
  backupctl courses get 42`;

const GET_HELP = `
Examples:
  backupctl courses get 42
  backupctl courses get 42 --output yaml`;
