import type { Command } from 'commander';
import { configure, type Flags } from './configuration.ts';
import { EXIT, Failure } from './failure.ts';
import type { Session } from './session.ts';
import type { Settings } from './settings.ts';

/** What a command does with its options and arguments. What it throws ends it: a Failure, or what a call has answered. */
// biome-ignore lint/suspicious/noExplicitAny: commander knows no types of what it has parsed
export type Work = (session: Session, options: any, ...args: any[]) => Promise<void>;

/** Makes the action of a command from what it does, which is loaded when it is called. */
export type Runner = (load: () => Promise<Work>) => (...given: unknown[]) => Promise<void>;

export type Environment = Record<string, string | undefined>;

export function runner(environment: Environment): Runner {
  return load =>
    async (...given) => {
      const command = given.pop() as Command;
      const options = given.pop();
      const stop = stopper();
      let settings: Settings | undefined;
      try {
        settings = await configure(flagsOf(command), environment);
        const [{ openSession }, work] = await Promise.all([import('./session.ts'), load()]);
        using session = await openSession(settings, environment, stop.signal);
        await work(session, options, ...given);
      } catch (error) {
        if (!stop.signal.aborted) process.exitCode = EXIT[await tell(error, settings)];
      }
      if (stop.signal.aborted) process.exitCode = stop.signal.reason as number;
    };
}

/** The reason is the exit code that shells give to a process that such a signal ended. A second signal ends it at once. */
function stopper(): AbortController {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort(130));
  process.once('SIGTERM', () => stop.abort(143));
  // Whoever reads has had enough: `| head`.
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? EXIT.OK : EXIT.FAILED));
  return stop;
}

/** Flags may stand anywhere: those nearer to the command count. */
function flagsOf(command: Command): Flags {
  const nearest: Record<string, unknown> = {};
  for (let at: Command | null = command; at; at = at.parent)
    for (const [key, value] of Object.entries(at.opts())) nearest[key] ??= value;
  return nearest;
}

async function tell(error: unknown, settings: Settings | undefined): Promise<keyof typeof EXIT> {
  const failure = await failureOf(error, settings);
  console.error(`error: ${failure.message}`);
  if (failure.hint) console.error(`hint: ${failure.hint}`);
  return failure.exit;
}

async function failureOf(error: unknown, settings: Settings | undefined): Promise<Failure> {
  if (error instanceof Failure) return error;
  const [{ RpcError }, { refused }] = await Promise.all([import('../client/error.ts'), import('./refused.ts')]);
  if (settings && error instanceof RpcError) return refused(error, settings);
  return new Failure('FAILED', (error as Error).message);
}
