import type { Command } from 'commander';
import { controllersCommand } from './controllers.ts';
import { coursesCommand } from './courses.ts';
import { logsCommand } from './logs.ts';
import type { Runner } from './runner.ts';
import { summaryCommand } from './summary.ts';

/** One file for each group, in the order of the help. Such a file holds arguments and help only: what a command does is loaded when it is called. */
const GROUPS: ((run: Runner) => Command)[] = [summaryCommand, logsCommand, controllersCommand, coursesCommand];

export function commands(run: Runner): Command[] {
  return GROUPS.map(group => group(run));
}
