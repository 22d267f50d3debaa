import { Command } from 'commander';
import type { Runner } from './runner.ts';

export function doctorCommand(run: Runner): Command {
  return new Command('doctor')
    .description('look at everything that a replica needs, and say how to mend what is wrong')
    .addHelpText('after', HELP)
    .action(run(async () => (await import('./doctor/doctor.ts')).doctor));
}

const HELP = `
Every address is looked at: connection, certificate, health, who you are and what you may do, version, clocks, database, schema, whether it hears
the other replicas, retention.

Exit code: 0 when all is well or could only be better, 1 when something has to be mended, others as in backupctl --help.

Examples:
  backupctl doctor
  backupctl doctor --address backup-1:50051,backup-2:50051 --tls-ca ca.crt --token-file token
  backupctl doctor --output json | jq '.replicas[].checks[] | select(.state != "ok")'`;
