import { z } from 'zod';
import { parseSchedule } from './course/schedule.ts';
import { engines } from './db/engine.ts';
import { parseCertificateScopes } from './identity/certificate.ts';
import { isLoopback, missingFor } from './identity/exposure.ts';
import { parseLocation } from './segment/location.ts';

const pause = z
  .string()
  .regex(/^\d+(ms|s|m|h)$/, 'must be a number with ms, s, m or h')
  .transform(
    text => Number.parseInt(text, 10) * { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[text.replace(/\d/g, '') as 's'],
  )
  .refine(ms => ms < 2 ** 31, 'must be less than 24 days')
  .meta({ range: '0 to less than 24 days, in `ms`, `s`, `m` or `h`' });
const duration = pause
  .refine(ms => ms >= 1, 'must be at least 1ms')
  .meta({ range: '`1ms` to less than 24 days, in `ms`, `s`, `m` or `h`' });

/** In seconds. No timer runs for it, so it may be longer than the 24 days of a timer. */
const age = z
  .string()
  .regex(/^(\d+(s|m|h|d)|off)$/, 'must be a number with s, m, h or d, or off')
  .transform(text => {
    if (text === 'off') return undefined;
    return Number.parseInt(text, 10) * { s: 1, m: 60, h: 3600, d: 86_400 }[text.replace(/\d/g, '') as 's'];
  })
  .refine(
    seconds => seconds === undefined || (seconds >= 1 && seconds <= 36_525 * 86_400),
    'must be at least 1s and at most 36525d',
  )
  .meta({ range: '`1s` to `36525d`, in `s`, `m`, `h` or `d`; `off`' });

const integer = (least: number, most: number) =>
  z
    .string()
    .regex(/^\d+$/, 'must be a whole number')
    .transform(Number)
    .refine(n => n >= least && n <= most, `must be from ${least} to ${most}`)
    .meta({ range: `${least} to ${most}` });

/** Text in a form of its own; `parse` throws what is wrong with it. */
const parsed = <T>(parse: (text: string) => T) =>
  z.string().transform((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue((error as Error).message);
      return z.NEVER;
    }
  });

const file = z.string().min(1).meta({ range: 'a path' });
const limit = (least: number, most: number) =>
  z
    .string()
    .regex(/^(\d+|off)$/, 'must be a whole number, or off')
    .transform(text => (text === 'off' ? undefined : Number(text)))
    .refine(n => n === undefined || (n >= least && n <= most), `must be from ${least} to ${most}, or off`)
    .meta({ range: `${least} to ${most}; \`off\`` });

const logLevels = { none: 10, error: 20, warning: 30, info: 40, debug: 50 };

/** All settings: environment variable, range, default, and what it is. `--help` prints this. */
export const settings = z.object({
  DATABASE_URL: z
    .url({ protocol: /^postgres(ql)?$/, error: 'must be a postgresql:// URL' })
    .optional()
    .describe('PostgreSQL to use; without it an embedded one is started'),
  DATABASE_DIRECT_URL: z
    .url({ protocol: /^postgres(ql)?$/, error: 'must be a postgresql:// URL' })
    .optional()
    .describe(
      'The same database past the pooler, when DATABASE_URL is one in transaction mode (PgBouncer): for migrations and for the one connection that listens',
    ),
  DATABASE_READ_URL: z
    .url({ protocol: /^postgres(ql)?$/, error: 'must be a postgresql:// URL' })
    .optional()
    .describe('A hot standby of it, for lists, summaries and the history of tails; without it the primary does all'),
  READ_LAG: pause
    .prefault('0s')
    .refine(ms => ms <= 60_000, 'must be at most 60s')
    .describe(
      'How far what is read at the standby may be behind; 0s, a call finds whatever was answered before it began',
    ),
  MIGRATE: z
    .enum(['on', 'off'])
    .default('on')
    .describe('Bring the schema up to date at the start; off, refuse to start when it is not, for a role that may not'),
  ENGINE: z
    .enum(engines)
    .default('plain')
    .describe(
      'How the tables that grow are laid out: plain, partitioned by backup id, or spread by it over a cluster of Citus; the database has to be it',
    ),
  DATA_DIR: file.default('.data/postgres').describe('Where the embedded PostgreSQL keeps its data'),
  LISTEN: z
    .string()
    .regex(/^.+:\d+$/, 'must be host:port')
    .default('127.0.0.1:50051')
    .describe('Address to serve on; port 0 takes a free one'),
  INSECURE: z
    .enum(['on', 'off'])
    .default('off')
    .describe('Serve also where others than this machine can connect, although TLS or identity is missing'),
  TLS_CERT: file.optional().describe('File with the certificate and its chain (PEM); without it there is no TLS'),
  TLS_KEY: file.optional().describe('File with its key (PEM)'),
  TLS_CLIENT_CA: file
    .optional()
    .describe('File with the authorities of client certificates (PEM); with it every client needs one'),
  TLS_CLIENT_SCOPES: parsed(parseCertificateScopes)
    .optional()
    .describe(
      'What certificates may do where there are no tokens: "night-shift=read+work, dashboard=read"; without it everything',
    ),
  TLS_RELOAD: duration.prefault('5s').describe('How often the files of TLS are looked at'),
  TOKEN_JWKS: z
    .string()
    .min(1)
    .refine(isKeySource, 'must be a file, an https:// URL, or an http:// URL of this machine')
    .optional()
    .describe('File or URL of the keys of bearer tokens (JWKS); with it every call needs a token'),
  TOKEN_ISSUER: z.string().min(1).optional().describe('What the claim iss of tokens has to be'),
  TOKEN_AUDIENCE: z.string().min(1).optional().describe('What the claim aud of tokens has to be or to have'),
  TOKEN_SKEW: duration.prefault('30s').describe("How far the issuer's clock and that of this machine may be apart"),
  TOKEN_REFRESH: duration
    .prefault('1m')
    .describe('How often the keys are read again, and after which time a token is verified again'),
  OPEN_HEALTH: z.enum(['on', 'off']).default('on').describe('Health is answered without a token, too'),
  DATABASE_POOL_SIZE: integer(2, 1000).prefault('20').describe('Most connections to the database'),
  DATABASE_CONNECT_TIMEOUT: duration
    .prefault('3s')
    .describe('How long a call waits for a connection before it answers UNAVAILABLE'),
  CALL_TIMEOUT: duration.prefault('30s').describe('How long a call that is not a stream may take, and any statement'),
  WRITE_TIMEOUT: duration.prefault('60s').describe('How long a subscriber may take to accept one message'),
  SHUTDOWN_DELAY: pause
    .prefault('0s')
    .describe(
      'How long after SIGTERM everything is served as before, while health says NOT_SERVING: longer than a load balancer takes to see that',
    ),
  SHUTDOWN_GRACE: duration.prefault('10s').describe('How long calls may go on after SIGTERM'),
  KEEPALIVE_TIME: duration.prefault('30s').describe('How often silent connections are pinged'),
  KEEPALIVE_TIMEOUT: duration.prefault('10s').describe('How long a ping may take'),
  MAX_CONNECTION_AGE: duration.prefault('1h').describe('After which a client is asked to connect again'),
  MAX_CONNECTION_AGE_GRACE: duration.prefault('1h').describe('How long its calls may go on then'),
  MAX_MESSAGE_BYTES: integer(65_536, 1_073_741_824).prefault('4194304').describe('Largest message accepted'),
  MAX_CONNECTIONS: integer(1, 1_000_000).prefault('10000').describe('Connections at a time; more are closed at once'),
  MAX_CALLS: integer(1, 1_000_000)
    .prefault('20000')
    .describe('Calls at a time on this replica, streams aside; more are refused'),
  MAX_CALLS_PER_CONNECTION: integer(1, 1_000_000)
    .prefault('10000')
    .describe('Calls at a time on one connection, streams aside; more are refused'),
  MAX_CALLS_PER_CALLER: limit(1, 1_000_000)
    .prefault('off')
    .describe('Calls at a time of one caller on this replica, streams aside; more are refused'),
  MAX_STREAMS: integer(1, 1_000_000).prefault('5000').describe('Streams at a time on this replica; more are refused'),
  MAX_STREAMS_PER_CONNECTION: integer(1, 1_000_000)
    .prefault('1000')
    .describe('Streams at a time on one connection; more are refused'),
  MAX_STREAMS_PER_CALLER: limit(1, 1_000_000)
    .prefault('off')
    .describe('Streams at a time of one caller on this replica; more are refused'),
  APPEND_RATE_PER_CONNECTION: limit(1024, 1_000_000_000_000)
    .prefault('off')
    .describe('Bytes a second that one connection may append; AppendLogs above it is refused, IngestLogs slowed'),
  APPEND_RATE_PER_CALLER: limit(1024, 1_000_000_000_000)
    .prefault('off')
    .describe('The same of one caller on this replica'),
  MAX_REQUEST_BYTES: integer(65_536, 1_099_511_627_776)
    .prefault('536870912')
    .describe('Bytes of all requests that are being worked on by this replica; more are refused'),
  MAX_WAITING: integer(1, 1_000_000)
    .prefault('10000')
    .describe('What may wait for the database in any one queue of this replica; more is refused'),
  DEFAULT_PAGE_SIZE: integer(1, 1000).prefault('100').describe('Page size of lists that name none'),
  LOG_KEEP_LEVEL: z
    .enum(['none', 'error', 'warning', 'info', 'debug'])
    .default('debug')
    .transform(level => logLevels[level])
    .describe('Most verbose level of log entries that is kept: none, error, warning, info, debug'),
  LOG_MAX_MESSAGE_BYTES: integer(1, 3_145_728).prefault('1048576').describe('Longest message of a log entry'),
  APPEND_QUEUE_BYTES: integer(1, 2_147_483_647)
    .prefault('67108864')
    .describe(
      'How much may wait to be appended on this replica; more is refused, or not read where it comes in streams',
    ),
  // Of more, the base64 does not fit into a text value of PostgreSQL.
  PAYLOAD_MAX_BYTES: integer(1_048_576, 805_306_362)
    .prefault('536870912')
    .describe('Largest payload that is taken by UploadPayload'),
  REQUEST_RETENTION: duration
    .prefault('24h')
    .describe('How long the answer to a request id, and a deletion for watches, are kept'),
  LEASE_DURATION: duration.prefault('30s').describe('How long a claim holds without a report when it does not say'),
  SWEEP_INTERVAL: duration.prefault('500ms').describe('How often some replica looks for leases that have ended'),
  SKIP_LOCKED: z
    .enum(['on', 'off'])
    .default('on')
    .describe('Claims pass over rows that others have locked; off, they wait for them'),
  RETENTION: age
    .prefault('30d')
    .describe(
      'Delete controllers, with logs and payloads, that nothing has changed for so long, and log entries of this age that have no controller; off keeps them',
    ),
  RETENTION_SETTING_UI: age
    .prefault('2d')
    .describe(
      'The same for those that wait for a person to choose settings (SETTING_UI); off treats them as all others',
    ),
  LOG_RETENTION: age
    .prefault('off')
    .describe('Remove log entries that are older, also of runs that stay; off keeps them as long as their controllers'),
  RETENTION_DRY_RUN: z
    .enum(['on', 'off'])
    .default('off')
    .describe("Only say in the service's own log what would be deleted"),
  RETENTION_INTERVAL: duration.prefault('1h').describe('How often to look for what is too old'),
  SEGMENT_STORE: parsed(parseLocation)
    .optional()
    .describe(
      'Where old log entries go: "s3://bucket/prefix?endpoint=https://...&region=..." or "file:///folder", the same of all replicas; without it they stay in the database',
    ),
  SEGMENT_AFTER: age
    .prefault('off')
    .describe('Move the entries of logs whose run has finished to SEGMENT_STORE when nothing was appended for so long'),
  SEGMENT_INTERVAL: duration.prefault('10m').describe('How often to look for such logs'),
  SEGMENT_BYTES: integer(1024, 16_777_216)
    .prefault('2097152')
    .describe('How long the texts of one segment are at most; what reads one entry reads its segment'),
  SEGMENT_CACHE_BYTES: integer(0, 2_147_483_647)
    .prefault('33554432')
    .describe('How much of the segments that were read last this replica keeps'),
  AWS_ACCESS_KEY_ID: z.string().min(1).optional().describe('Who asks the store, where that is S3'),
  AWS_SECRET_ACCESS_KEY: z.string().min(1).optional().describe('What proves it'),
  AWS_SESSION_TOKEN: z.string().min(1).optional().describe('What belongs to both where they are temporary'),
  COURSE_SCHEDULE: parsed(parseSchedule)
    .optional()
    .describe(
      'When courses without a schedule of their own are backed up: "1111111 02:30 Europe/Berlin" (days, Sunday first) or "cron 30 2 * * * Europe/Berlin"; without it never',
    ),
  COURSE_RUN_RETENTION: age.prefault('400d').describe('How long the records of course runs are kept; off keeps them'),
  TAIL_HEARTBEAT: duration.prefault('10s').describe('How often a silent tail or watch tells where it is'),
  TAIL_POLL: duration
    .prefault('5s')
    .describe('How often a tail, a watch or a parked claim looks without having been woken'),
  TAIL_MAX_AGE: duration.prefault('30m').describe('How old a tail or watch may become (80 to 120 % of it)'),
  TAIL_RECENT_BYTES: integer(0, 2_147_483_647)
    .prefault('33554432')
    .describe(
      'How much of what came last this replica keeps for tails; who is further behind reads it from the database',
    ),
  TAIL_OUTAGE: duration.prefault('30s').describe('How long a tail or watch waits for a database that is away'),
  NOTIFY: z
    .enum(['on', 'off'])
    .default('on')
    .describe('Wake tails, watches and claims, on other replicas by LISTEN and NOTIFY; off, they only poll'),
  NOTIFY_HEARTBEAT: duration.prefault('10s').describe('How often the listening connection is checked'),
  DOORBELL_URL: z
    .url({
      protocol: /^(nats|tls|rediss?)$/,
      hostname: /./,
      error: 'must be a nats://, tls://, redis:// or rediss:// URL',
    })
    .optional()
    .describe('Broker to do that with instead: NATS (nats://, tls://) or Redis (redis://, rediss://)'),
  HEALTH_INTERVAL: duration.prefault('1s').describe('How often health asks the database'),
  METRICS_LISTEN: z
    .string()
    .regex(/^.+:\d+$/, 'must be host:port')
    .optional()
    .describe(
      'Address of /metrics for Prometheus and of /healthz; port 0 takes a free one; without it nothing is counted',
    ),
  PAGE_LISTEN: z
    .string()
    .regex(/^(auto|off|.+:\d+)$/, 'must be host:port, auto or off')
    .default('auto')
    .meta({ range: '`host:port`, `auto`, `off`' })
    .describe(
      'Address of the status page, for people; port 0 takes a free one; auto is 127.0.0.1:50080 with the embedded PostgreSQL where nobody is asked who he is, and else off',
    ),
  TRACES_ENDPOINT: z
    .url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' })
    .optional()
    .describe('URL to which spans go by OTLP over HTTP, as http://127.0.0.1:4318/v1/traces; without it there are none'),
  TRACES_RATIO: z
    .string()
    .regex(/^(0|1|0\.\d{1,6})$/, 'must be from 0 to 1, with 6 decimals at most')
    .prefault('0.01')
    .transform(Number)
    .meta({ range: '0 to 1, with 6 decimals at most' })
    .describe('Share of the calls that are traced when the caller has not decided; 1 is all'),
  PROFILE_DIR: file
    .optional()
    .describe(
      'Folder to which SIGUSR2 writes a CPU profile and then a heap snapshot, which holds secrets; without it nothing',
    ),
  PROFILE_DURATION: duration.prefault('10s').describe('How long the CPU profile takes'),
  SERVICE_LOG: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .default('info')
    .describe("Level of the service's own log: trace, debug, info, warn, error, fatal, silent"),
});

export type Config = z.output<typeof settings>;

type Disagreement = [name: keyof Config, problem: string];

/** What is wrong with settings beside others. */
function disagreements(config: Config): Disagreement[] {
  const { LISTEN, TLS_CERT, TLS_CLIENT_CA, TLS_CLIENT_SCOPES, TOKEN_JWKS, INSECURE, PAGE_LISTEN } = config;
  const found = NEEDS.filter(([name, other]) => config[name] !== undefined && config[other] === undefined).map(
    ([name, other]): Disagreement => [name, `needs ${other}`],
  );
  if (config.ENGINE === 'citus' && !config.DATABASE_URL)
    found.push(['ENGINE', 'needs DATABASE_URL: the embedded PostgreSQL is no cluster']);
  // Each node has a standby of its own, and what one has replayed says nothing about the others.
  if (config.ENGINE === 'citus' && config.DATABASE_READ_URL)
    found.push(['DATABASE_READ_URL', 'is for one PostgreSQL and its standby, so not with ENGINE=citus']);
  if (config.DOORBELL_URL && config.NOTIFY === 'off') found.push(['DOORBELL_URL', 'says nothing with NOTIFY=off']);
  if (TLS_CLIENT_SCOPES && TOKEN_JWKS) found.push(['TLS_CLIENT_SCOPES', 'says nothing where tokens do (TOKEN_JWKS)']);
  const { SEGMENT_STORE, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = config;
  if (SEGMENT_STORE?.kind === 's3' && !(AWS_ACCESS_KEY_ID && AWS_SECRET_ACCESS_KEY))
    found.push(['SEGMENT_STORE', 'needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY']);
  if (config.SEGMENT_AFTER !== undefined && !SEGMENT_STORE) found.push(['SEGMENT_AFTER', 'needs SEGMENT_STORE']);
  const missing = missingFor(LISTEN, { tls: !!TLS_CERT, clientCa: !!TLS_CLIENT_CA, tokens: !!TOKEN_JWKS });
  if (missing.length > 0 && INSECURE === 'off') {
    const remedy = `set ${missing.join('; and ')}; or INSECURE=on`;
    found.push(['LISTEN', `not only this machine can connect there, so ${remedy}`]);
  }
  if (!/^(auto|off)$/.test(PAGE_LISTEN) && !isLoopback(PAGE_LISTEN) && INSECURE === 'off') {
    const problem = 'not only this machine can connect there, and the page asks nobody who he is';
    found.push(['PAGE_LISTEN', `${problem}, so put it behind a proxy that does; or INSECURE=on`]);
  }
  return found;
}

const NEEDS: [name: keyof Config, other: keyof Config][] = [
  ['DATABASE_READ_URL', 'DATABASE_URL'],
  ['TLS_CERT', 'TLS_KEY'],
  ['TLS_KEY', 'TLS_CERT'],
  ['TLS_CLIENT_CA', 'TLS_CERT'],
  ['TLS_CLIENT_SCOPES', 'TLS_CLIENT_CA'],
  ['TOKEN_JWKS', 'TOKEN_ISSUER'],
  ['TOKEN_JWKS', 'TOKEN_AUDIENCE'],
  ['TOKEN_ISSUER', 'TOKEN_JWKS'],
  ['TOKEN_AUDIENCE', 'TOKEN_JWKS'],
];

/** Over anything else anybody on the way could hand out keys of his own. */
function isKeySource(text: string): boolean {
  if (!URL.canParse(text)) return true;
  const { protocol, host } = new URL(text);
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(host));
}

/** The settings that an environment gives; an error that lists everything that is wrong with it. */
export function loadConfig(env: Record<string, string | undefined>): Config {
  const result = settings.safeParse(env);
  const wrong = result.success
    ? disagreements(result.data)
    : result.error.issues.map(({ path: [name], message }) => [String(name), message]);
  if (result.success && wrong.length === 0) return result.data;
  const problems = wrong.map(([name, message]) => {
    const value = /^((DATABASE|DOORBELL)_.*URL|AWS_.*)$/.test(name!) ? '...' : env[name!]; // those hold passwords
    return `  ${name}=${value}: ${message}`;
  });
  throw new ConfigError(`These settings are wrong:\n${problems.join('\n')}`);
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** Every setting with its default, for `--help`. */
export function describeSettings(): string {
  // As they would be set: the output side of a setting is what its text was turned into.
  const { properties = {} } = z.toJSONSchema(settings, { io: 'input' });
  const rows = Object.entries(properties as Record<string, { default?: string; description?: string }>).map(
    ([name, { default: value = '', description = '' }]) => [name, value, description],
  );
  const widths = [0, 1].map(column => Math.max(...rows.map(row => row[column]!.length)));
  return rows
    .map(([name, value, text]) => `  ${name!.padEnd(widths[0]!)}  ${value!.padEnd(widths[1]!)}  ${text}`)
    .join('\n');
}
