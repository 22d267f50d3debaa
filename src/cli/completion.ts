import { Argument, Command } from 'commander';
import type { Runner } from './runner.ts';

type Environment = Record<string, string | undefined>;

const SHELLS = ['bash', 'zsh', 'fish'] as const;

export function completionCommand(run: Runner): Command {
  return new Command('completion')
    .description('print what completes commands and options in a shell')
    .addArgument(new Argument('<shell>', SHELLS.join(', ')).choices(SHELLS))
    .addHelpText('after', HELP)
    .action(run(async () => (await import('./completion/scripts.ts')).printScript));
}

const HELP = `
Examples:
  source <(backupctl completion bash)
  backupctl completion bash > ~/.local/share/bash-completion/completions/backupctl
  backupctl completion zsh > "\${fpath[1]}/_backupctl"
  backupctl completion fish > ~/.config/fish/completions/backupctl.fish`;

/** What the shells' functions call: hidden, because nobody else has a use for it. */
export function completeCommand(environment: Environment): Command {
  return new Command('__complete')
    .argument('[words...]', 'what stands behind the name of the program, the last one being written')
    .helpOption(false)
    .action(async (words: string[], _: object, command: Command) => {
      const [{ candidates }, { contextNames }] = await Promise.all([
        import('./completion/candidates.ts'),
        import('./configuration.ts'),
      ]);
      for (const [word, about] of candidates(command.parent!, words, await contextNames(environment)))
        console.log(`${word}\t${about}`);
    });
}
