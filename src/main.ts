import { enableCompileCache } from 'node:module';
import { inspect } from 'node:util';
import type { Logger } from 'pino';

// Before anything else is loaded: from the second start on the code is there compiled, and without its types. With that, and the nursery of 4 MiB
// that `npm start` gives to Node, an idle replica takes 135 MiB instead of 200, and serves as much.
enableCompileCache();
const { pino } = await import('pino');
const { startApp } = await import('./app.ts');
const { ConfigError, describeSettings, loadConfig } = await import('./config.ts');

if (process.argv.includes('--help')) {
  console.log(`Backup Management: the bookkeeping of course backups over gRPC.

Usage: npm start

Settings are environment variables:
${describeSettings()}`);
  process.exit(0);
}

let recording = false;

try {
  const config = loadConfig(process.env);
  // Standard output has only the lines that say where the service is.
  const log = pino({ level: config.SERVICE_LOG }, pino.destination(2));
  const app = await startApp(config, log);
  const { PROFILE_DIR: folder, PROFILE_DURATION: ms } = config;
  // Before it is told that it serves: whoever hears that may send a signal at once, and one that is not heeded ends the process.
  process.on('SIGUSR2', () => void record(folder, ms, log));
  const signalled = new Promise(resolve => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, resolve);
  });
  const address = config.LISTEN.replace(/\d+$/, String(app.port));
  console.log(`Backup Management serves gRPC on ${address}`);
  if (app.pageAddress) console.log(`Its status page is http://${app.pageAddress}/`);
  const signal = await signalled;
  log.info({ signal }, 'shutting down');
  await app[Symbol.asyncDispose]();
} catch (error) {
  console.error(error instanceof ConfigError ? error.message : `Backup Management could not start: ${explain(error)}`);
  process.exitCode = 1;
}

/** One at a time: who asks meanwhile gets what is under way. */
async function record(folder: string | undefined, ms: number, log: Logger): Promise<void> {
  if (folder === undefined) return log.warn('SIGUSR2 writes a profile where PROFILE_DIR says where to');
  if (recording) return;
  recording = true;
  try {
    const { profile } = await import('./telemetry/profile.ts');
    log.info(await profile(folder, ms), 'profile');
  } catch (error) {
    log.warn({ err: error }, 'profile');
  } finally {
    recording = false;
  }
}

/** What an operator can act on; the stack is for SERVICE_LOG=debug. */
function explain(error: unknown): string {
  if (!(error instanceof Error) || /^(trace|debug)$/.test(process.env['SERVICE_LOG'] ?? '')) return inspect(error);
  // Node says nothing in the message when several addresses of a host have failed.
  return error.message || (error as NodeJS.ErrnoException).code || inspect(error);
}
