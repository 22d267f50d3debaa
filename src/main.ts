import { pino } from 'pino';
import { startApp } from './app.ts';
import { ConfigError, describeSettings, loadConfig } from './config.ts';

if (process.argv.includes('--help')) {
  console.log(`Backup Management: the bookkeeping of course backups over gRPC.

Usage: npm start

Settings are environment variables:
${describeSettings()}`);
  process.exit(0);
}

try {
  const config = loadConfig(process.env);
  const log = pino({ level: config.SERVICE_LOG });
  const app = await startApp(config, log);
  const address = config.LISTEN.replace(/\d+$/, String(app.port));
  console.log(`Backup Management serves gRPC on ${address}`);
  const signal = await new Promise(resolve => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, resolve);
  });
  log.info({ signal }, 'shutting down');
  await app[Symbol.asyncDispose]();
} catch (error) {
  console.error(error instanceof ConfigError ? error.message : error);
  process.exitCode = 1;
}
