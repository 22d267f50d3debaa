import type { Command } from 'commander';
import { coursesCommand } from './courses.ts';
import type { Runner } from './runner.ts';
import { summaryCommand } from './summary.ts';

/** One file for each group, in the order of the help. Such a file holds arguments and help only: what a command does is loaded when it is called. */
const GROUPS: ((run: Runner) => Command)[] = [summaryCommand, coursesCommand];

export function commands(run: Runner): Command[] {
  return GROUPS.map(group => group(run));
}
