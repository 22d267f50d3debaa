import { Command } from 'commander';
import { age } from './arguments.ts';
import type { Runner } from './runner.ts';

export function summaryCommand(run: Runner): Command {
  return new Command('summary')
    .description('one screen: what needs attention, the queue, what runs, courses, logs')
    .option('--window <time>', 'how far back ends of runs and logs are counted', age, 86_400_000)
    .addHelpText('after', HELP)
    .action(run(async () => (await import('./summary/summary.ts')).summary));
}

const HELP = `
What needs attention comes first, each line with the command that tells more. JSON and YAML have the answers of the service (controllers, courses,
logs, ended) and the list attention.

Examples:
  backupctl summary
  backupctl summary --window 7d
  backupctl summary --output json | jq -e '.attention == []'`;
