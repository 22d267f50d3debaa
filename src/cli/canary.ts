import type { ChannelCredentials } from '@grpc/grpc-js';
import { Command, InvalidArgumentError, Option } from 'commander';
import { clientCredentials } from '../grpc/credentials.ts';
import type { Tally } from './canary/ledger.ts';
import { Metrics, serveMetrics } from './canary/metrics.ts';
import { probe } from './canary/probe.ts';
import { connect } from './canary/replica.ts';
import { lineOf, summaryOf } from './canary/summary.ts';

type Options = {
  address: string[];
  rate: number;
  duration?: number;
  backupId?: string;
  rotate: number;
  late: number;
  missingAfter: number;
  interval: number;
  output: 'json' | 'text';
  metricsPort?: number;
  metricsHost: string;
  tlsCa?: string;
  tlsCert?: string;
  tlsKey?: string;
  tokenFile?: string;
};

export function canaryCommand(): Command {
  return new Command('canary')
    .description('Write known entries and prove that every replica delivers each of them once, in order and in time.')
    .requiredOption('--address <host:port>', 'a replica; once for each', address)
    .option('--rate <number>', 'entries in a second, 0.01 to 1000', rate, 1)
    .addOption(time('--duration', 'how long to write, such as 90s or 12h; else until SIGINT or SIGTERM'))
    .addOption(backupIdOption())
    .addOption(time('--rotate', 'after which time to go on in a new log', '1h'))
    .addOption(time('--late', 'what takes longer from the answer to the delivery is late', '1s'))
    .addOption(time('--missing-after', 'what takes longer is missing', '30s'))
    .addOption(time('--interval', 'how often to say on stderr how it goes', '10s'))
    .addOption(new Option('--output <format>', 'of the summary on stdout').choices(['json', 'text']).default('json'))
    .option('--metrics-port <port>', 'serve metrics for Prometheus there; 0 takes a free one', port)
    .option('--metrics-host <host>', 'on this address', '127.0.0.1')
    .option('--tls-ca <file>', 'authorities to trust (PEM); with this or any of the next ones the connection is TLS')
    .option('--tls-cert <file>', 'certificate to show (PEM)')
    .option('--tls-key <file>', 'its key (PEM)')
    .option('--token-file <file>', 'bearer token with the scopes read, work and admin; read again for every call')
    .addHelpText('after', HELP)
    .action(run);
}

const HELP = `
It may run beside production for ever: it writes small entries that say what they are, into logs that belong to no run and whose ids begin
with ca9a, so no worker and no course ever hears of it. What the service has not acknowledged is sent again and is no loss; the tail through a
replica that was away goes on where it was, and an hour later at the latest what it owes is missing.

Exit code: 0 when all that was acknowledged was delivered by every replica once and in order, 1 when anything was missing, duplicate or out
of order, or nothing could be written at all, 2 for a wrong command line.

  npm run cli -- canary --address backup-1:50051 --address backup-2:50051 --duration 5m
  npm run cli -- canary --address backup-1:50051 --tls-ca ca.crt --token-file token`;

async function run(options: Options, command: Command): Promise<void> {
  const { address: addresses, rate, rotate: rotateMs, late: lateMs, missingAfter: missingAfterMs, backupId } = options;
  const credentials = credentialsOf(options, command);
  const stop = new AbortController();
  const end = () => stop.abort();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
  if (options.duration !== undefined) setTimeout(end, options.duration).unref();
  const tell = (line: string) => console.error(`${new Date().toISOString()} ${line}`);
  const replicas = addresses.map(address => connect(address, credentials));
  const metrics = new Metrics(replicas);
  try {
    await using endpoint =
      options.metricsPort === undefined
        ? undefined
        : await serveMetrics(metrics, { host: options.metricsHost, port: options.metricsPort });
    if (endpoint) tell(`metrics are served on ${endpoint.url}`);
    const telling = setInterval(() => tell(replicas.map(lineOf).join('; ')), options.interval);
    const observe = (tally: Tally, latencyMs: number) => metrics.observe(tally, latencyMs);
    const limits = { lateMs, missingAfterMs, observe };
    const plan = { rate, limits, rotateMs, tell, ...(backupId && { backupId }) };
    await probe(replicas, plan, stop.signal).finally(() => clearInterval(telling));
  } catch (error) {
    console.error(`the canary has failed: ${(error as Error).message}`);
    process.exitCode = 1;
  }
  for (const replica of replicas) replica[Symbol.dispose]();
  const summary = summaryOf(replicas);
  console.log(options.output === 'json' ? JSON.stringify(summary) : replicas.map(lineOf).join('\n'));
  if (!summary.ok) process.exitCode = 1;
}

function credentialsOf({ tlsCa, tlsCert, tlsKey, tokenFile }: Options, command: Command): ChannelCredentials {
  try {
    return clientCredentials({ ca: tlsCa, cert: tlsCert, key: tlsKey, token: tokenFile });
  } catch (error) {
    return command.error(`error: ${(error as Error).message}`);
  }
}

function address(text: string, before: string[] = []): string[] {
  if (!/^(\[[\da-f:.]+\]|[^\s:/]+):\d{1,5}$/i.test(text)) throw new InvalidArgumentError('must be host:port');
  if (before.includes(text)) throw new InvalidArgumentError('was given twice');
  return [...before, text];
}

function rate(text: string): number {
  const number = Number(text);
  if (!(number >= 0.01 && number <= 1000)) throw new InvalidArgumentError('must be a number from 0.01 to 1000');
  return number;
}

function time(flag: string, text: string, usual?: string): Option {
  const option = new Option(`${flag} <time>`, text).argParser(duration);
  return usual === undefined ? option : option.default(duration(usual), usual);
}

/** Milliseconds, up to 20 days: a timer of Node keeps no more than 24. */
function duration(text: string): number {
  const [, count, unit] = text.match(/^(\d{1,9})(ms|s|m|h|d)$/) ?? [];
  const ms = Number(count) * (UNITS[unit!] ?? Number.NaN);
  if (ms >= 1 && ms <= 20 * 86_400_000) return ms;
  throw new InvalidArgumentError('must be a time from 1ms to 20d, such as 500ms, 30s, 5m or 1h');
}

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function backupIdOption(): Option {
  const text = 'write to this log and no other, instead of new ones of its own';
  return new Option('--backup-id <id>', text).conflicts('rotate').argParser(id => {
    if (!/^[0-9a-f]{32}$/.test(id)) throw new InvalidArgumentError('must be 32 lower-case hexadecimal digits');
    return id;
  });
}

function port(text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number > 65_535) throw new InvalidArgumentError('must be a whole number from 0 to 65535');
  return number;
}
