import type { Command } from 'commander';
import { completeCommand, completionCommand } from './completion.ts';
import { controllersCommand } from './controllers.ts';
import { coursesCommand } from './courses.ts';
import { doctorCommand } from './doctor.ts';
import { logsCommand } from './logs.ts';
import { purgeCommand } from './purge.ts';
import { type Environment, runner } from './runner.ts';
import { summaryCommand } from './summary.ts';

/** One file for each group, in the order of the help. Such a file holds arguments and help only: what a command does is loaded when it is called. */
const GROUPS = [
  summaryCommand,
  logsCommand,
  controllersCommand,
  coursesCommand,
  purgeCommand,
  doctorCommand,
  completionCommand,
];

/** Adds all commands that need only the network. */
export function addCommands(program: Command, environment: Environment): void {
  for (const group of GROUPS) program.addCommand(group(runner(environment)));
  program.addCommand(completeCommand(environment), { hidden: true });
}
