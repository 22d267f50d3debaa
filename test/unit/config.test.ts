import assert from 'node:assert/strict';
import { ConfigError, describeSettings, loadConfig, settings } from '../../src/config.ts';

type Name = keyof typeof settings.shape;

const milliseconds = { good: { '1ms': 1, '2s': 2000, '3m': 180_000, '596h': 2_145_600_000 } };
const notDurations = ['', '5', 's', '0ms', '-1s', '1.5s', '1 s', '1d', '597h', '2147483648ms', '1s\n'];
const ages = {
  good: { '1s': 1, '2m': 120, '3h': 10_800, '60d': 5_184_000, '36525d': 3_155_760_000, off: undefined },
  bad: ['', '5', 'd', '0s', '0d', '-1d', '1.5d', '1 d', '5ms', '1w', 'OFF', '36526d', '3155760001s', '1d\n'],
};
const notNumbers = ['', 'x', '-1', '1.5', '1e3', ' 5', '0x10'];

const counts = { good: { 1: 1, 1000000: 1_000_000 }, bad: [...notNumbers, '0', '1000001'] };
const rates = {
  unset: undefined,
  good: { 1024: 1024, 1000000000000: 1_000_000_000_000, off: undefined },
  bad: [...notNumbers, '0', '1023', '1000000000001', 'OFF'],
};

const files = { unset: undefined, good: { '/etc/tls/tls.crt': '/etc/tls/tls.crt' }, bad: [''] };
const tls = { TLS_CERT: 'tls.crt', TLS_KEY: 'tls.key' };
const mutual = { ...tls, TLS_CLIENT_CA: 'ca.crt' };
const tokens = { TOKEN_JWKS: 'keys.json', TOKEN_ISSUER: 'https://id.example.org', TOKEN_AUDIENCE: 'backup' };

type Setting = {
  unset: unknown;
  good: Record<string, unknown>;
  bad: string[];
  /** What else has to be set for it. */
  beside?: Record<string, string>;
};

// Every setting: its default, what it accepts and what that becomes, and what it refuses.
const table: Record<Name, Setting> = {
  DATABASE_URL: {
    unset: undefined,
    good: { 'postgresql://a:b@c:5/d': 'postgresql://a:b@c:5/d', 'postgres://c/d': 'postgres://c/d' },
    bad: ['', 'c:5/d', 'mysql://c/d', 'http://postgresql'],
  },
  DATABASE_DIRECT_URL: {
    unset: undefined,
    good: { 'postgresql://a:b@c:5/d': 'postgresql://a:b@c:5/d' },
    bad: ['', 'c:5/d', 'mysql://c/d'],
  },
  DATABASE_READ_URL: {
    unset: undefined,
    good: { 'postgresql://a:b@c:5/d': 'postgresql://a:b@c:5/d' },
    bad: ['', 'c:5/d', 'mysql://c/d'],
    beside: { DATABASE_URL: 'postgresql://c/d' },
  },
  READ_LAG: { unset: 0, good: { '0s': 0, '500ms': 500, '1m': 60_000 }, bad: ['', '1', '61s', '1d'] },
  MIGRATE: { unset: 'on', good: { on: 'on', off: 'off' }, bad: ['', 'ON', 'true', '1'] },
  ENGINE: {
    unset: 'plain',
    good: { plain: 'plain', partitioned: 'partitioned', citus: 'citus' },
    bad: ['', 'PLAIN', 'Citus', 'partitioned '],
    beside: { DATABASE_URL: 'postgresql://c/d' },
  },
  DATA_DIR: { unset: '.data/postgres', good: { '/var/lib/backup': '/var/lib/backup' }, bad: [''] },
  LISTEN: {
    unset: '127.0.0.1:50051',
    good: { '0.0.0.0:0': '0.0.0.0:0', '[::]:50051': '[::]:50051' },
    bad: ['', 'localhost', ':50051', 'localhost:', 'localhost:http'],
    beside: { INSECURE: 'on' },
  },
  INSECURE: { unset: 'off', good: { on: 'on', off: 'off' }, bad: ['', 'ON', 'true', '1'] },
  TLS_CERT: { ...files, beside: tls },
  TLS_KEY: { ...files, beside: tls },
  TLS_CLIENT_CA: { ...files, beside: tls },
  TLS_CLIENT_SCOPES: {
    unset: undefined,
    good: {
      'night-shift=read+work, dashboard=read': new Map([
        ['night-shift', new Set(['read', 'work'])],
        ['dashboard', new Set(['read'])],
      ]),
      'spiffe://example.org/a=b=admin': new Map([['spiffe://example.org/a=b', new Set(['admin'])]]),
    },
    bad: ['', 'a', 'a=', '=read', 'a=Read', 'a=read,', 'a=read work', 'a=read,a=work', 'a=everything'],
    beside: mutual,
  },
  TLS_RELOAD: { unset: 5000, ...milliseconds, bad: notDurations },
  TOKEN_JWKS: {
    unset: undefined,
    good: Object.fromEntries(
      [
        'keys.json',
        '/etc/keys.json',
        'https://id.example.org/jwks',
        'http://127.0.0.1:80/',
        'http://[::1]/',
        'http://localhost/',
      ].map(source => [source, source]),
    ),
    bad: ['', 'http://id.example.org/jwks', 'file:///etc/keys.json', 'ftp://localhost/keys.json'],
    beside: tokens,
  },
  TOKEN_ISSUER: { unset: undefined, good: { a: 'a' }, bad: [''], beside: tokens },
  TOKEN_AUDIENCE: { unset: undefined, good: { a: 'a' }, bad: [''], beside: tokens },
  TOKEN_SKEW: { unset: 30_000, ...milliseconds, bad: notDurations },
  TOKEN_REFRESH: { unset: 60_000, ...milliseconds, bad: notDurations },
  OPEN_HEALTH: { unset: 'on', good: { on: 'on', off: 'off' }, bad: ['', 'ON', 'true', '1'] },
  DATABASE_POOL_SIZE: { unset: 20, good: { 2: 2, 1000: 1000 }, bad: [...notNumbers, '1', '1001'] },
  DATABASE_CONNECT_TIMEOUT: { unset: 3000, ...milliseconds, bad: notDurations },
  CALL_TIMEOUT: { unset: 30_000, ...milliseconds, bad: notDurations },
  WRITE_TIMEOUT: { unset: 60_000, ...milliseconds, bad: notDurations },
  SHUTDOWN_DELAY: {
    unset: 0,
    good: { '0s': 0, ...milliseconds.good },
    bad: notDurations.filter(text => text !== '0ms'),
  },
  SHUTDOWN_GRACE: { unset: 10_000, ...milliseconds, bad: notDurations },
  KEEPALIVE_TIME: { unset: 30_000, ...milliseconds, bad: notDurations },
  KEEPALIVE_TIMEOUT: { unset: 10_000, ...milliseconds, bad: notDurations },
  MAX_CONNECTION_AGE: { unset: 3_600_000, ...milliseconds, bad: notDurations },
  MAX_CONNECTION_AGE_GRACE: { unset: 3_600_000, ...milliseconds, bad: notDurations },
  MAX_MESSAGE_BYTES: {
    unset: 4_194_304,
    good: { 65536: 65_536, 1073741824: 1_073_741_824 },
    bad: [...notNumbers, '65535', '1073741825'],
  },
  MAX_CONNECTIONS: { unset: 10_000, ...counts },
  MAX_CALLS: { unset: 20_000, ...counts },
  MAX_CALLS_PER_CONNECTION: { unset: 10_000, ...counts },
  MAX_CALLS_PER_CALLER: { unset: undefined, good: { ...counts.good, off: undefined }, bad: counts.bad },
  MAX_STREAMS_PER_CALLER: { unset: undefined, good: { ...counts.good, off: undefined }, bad: counts.bad },
  APPEND_RATE_PER_CONNECTION: rates,
  APPEND_RATE_PER_CALLER: rates,
  MAX_REQUEST_BYTES: {
    unset: 536_870_912,
    good: { 65536: 65_536, 1099511627776: 1_099_511_627_776 },
    bad: [...notNumbers, '65535', '1099511627777'],
  },
  MAX_WAITING: { unset: 10_000, ...counts },
  MAX_STREAMS_PER_CONNECTION: { unset: 1000, good: { 1: 1, 1000000: 1_000_000 }, bad: [...notNumbers, '0', '1000001'] },
  MAX_STREAMS: { unset: 5000, good: { 1: 1, 1000000: 1_000_000 }, bad: [...notNumbers, '0', '1000001'] },
  DEFAULT_PAGE_SIZE: { unset: 100, good: { 1: 1, 1000: 1000 }, bad: [...notNumbers, '0', '1001'] },
  LOG_KEEP_LEVEL: {
    unset: 50,
    good: { none: 10, error: 20, warning: 30, info: 40, debug: 50 },
    bad: ['', 'DEBUG', '30', 'warn', 'toString'],
  },
  LOG_MAX_MESSAGE_BYTES: { unset: 1_048_576, good: { 1: 1, 3145728: 3_145_728 }, bad: [...notNumbers, '0', '3145729'] },
  APPEND_QUEUE_BYTES: {
    unset: 67_108_864,
    good: { 1: 1, 2147483647: 2_147_483_647 },
    bad: [...notNumbers, '0', '2147483648'],
  },
  REQUEST_RETENTION: { unset: 86_400_000, ...milliseconds, bad: notDurations },
  PAYLOAD_MAX_BYTES: {
    unset: 536_870_912,
    good: { 1048576: 1_048_576, 805306362: 805_306_362 },
    bad: [...notNumbers, '1048575', '805306363'],
  },
  LEASE_DURATION: { unset: 30_000, ...milliseconds, bad: notDurations },
  SWEEP_INTERVAL: { unset: 500, ...milliseconds, bad: notDurations },
  SKIP_LOCKED: { unset: 'on', good: { on: 'on', off: 'off' }, bad: ['', 'ON', 'true', '1'] },
  SEGMENT_STORE: {
    unset: undefined,
    good: {
      's3://b1/a/p?endpoint=http://127.0.0.1:9000/&region=eu': {
        kind: 's3',
        endpoint: 'http://127.0.0.1:9000',
        region: 'eu',
        bucket: 'b1',
        prefix: 'a/p',
      },
      's3://b1': {
        kind: 's3',
        endpoint: 'https://s3.us-east-1.amazonaws.com',
        region: 'us-east-1',
        bucket: 'b1',
        prefix: '',
      },
      's3://b1/?region=eu': {
        kind: 's3',
        endpoint: 'https://s3.eu.amazonaws.com',
        region: 'eu',
        bucket: 'b1',
        prefix: '',
      },
      'file:///var/lib/segments/': { kind: 'folder', path: '/var/lib/segments' },
    },
    bad: [
      '',
      '/var/lib/segments',
      'file:///',
      'file://host/a',
      'file:///a?b',
      's3://',
      's3://B_1',
      's3://b1?endpoint=x',
      's3://b1?endpoint=ftp://x',
      's3://b1?zone=x',
      `s3://b1/${'p'.repeat(501)}`,
      'http://b1',
    ],
    beside: { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' },
  },
  SEGMENT_AFTER: { unset: undefined, ...ages, beside: { SEGMENT_STORE: 'file:///a' } },
  SEGMENT_INTERVAL: { unset: 600_000, ...milliseconds, bad: notDurations },
  SEGMENT_BYTES: {
    unset: 2_097_152,
    good: { 1024: 1024, 16777216: 16_777_216 },
    bad: [...notNumbers, '1023', '16777217'],
  },
  SEGMENT_CACHE_BYTES: {
    unset: 33_554_432,
    good: { 0: 0, 2147483647: 2_147_483_647 },
    bad: [...notNumbers, '2147483648'],
  },
  AWS_ACCESS_KEY_ID: { unset: undefined, good: { a: 'a' }, bad: [''] },
  AWS_SECRET_ACCESS_KEY: { unset: undefined, good: { a: 'a' }, bad: [''] },
  AWS_SESSION_TOKEN: { unset: undefined, good: { a: 'a' }, bad: [''] },
  COURSE_SCHEDULE: {
    unset: undefined,
    good: {
      '0111110 02:30 Europe/Berlin': { timeZone: 'Europe/Berlin', weekdays: '0111110', hour: 2, minute: 30 },
      'cron 30 2 * * 1-5 UTC': { timeZone: 'UTC', cron: '30 2 * * 1-5' },
    },
    bad: [
      '',
      '02:30',
      '0111110 02:30',
      '0111110 24:00 UTC',
      '011111 02:30 UTC',
      '0111110 02:30 Mars/Base',
      'cron 60 2 * * * UTC',
    ],
  },
  COURSE_RUN_RETENTION: { unset: 34_560_000, ...ages },
  RETENTION: { unset: 2_592_000, ...ages },
  RETENTION_SETTING_UI: { unset: 172_800, ...ages },
  LOG_RETENTION: { ...ages, unset: undefined },
  RETENTION_DRY_RUN: { unset: 'off', good: { on: 'on', off: 'off' }, bad: ['', 'ON', 'true', '1'] },
  RETENTION_INTERVAL: { unset: 3_600_000, ...milliseconds, bad: notDurations },
  TAIL_HEARTBEAT: { unset: 10_000, ...milliseconds, bad: notDurations },
  TAIL_POLL: { unset: 5000, ...milliseconds, bad: notDurations },
  TAIL_MAX_AGE: { unset: 1_800_000, ...milliseconds, bad: notDurations },
  TAIL_OUTAGE: { unset: 30_000, ...milliseconds, bad: notDurations },
  TAIL_RECENT_BYTES: {
    unset: 33_554_432,
    good: { '0': 0, '2147483647': 2_147_483_647 },
    bad: ['', '-1', '2147483648', '1k'],
  },
  NOTIFY: { unset: 'on', good: { on: 'on', off: 'off' }, bad: ['', 'ON', 'true', '1'] },
  NOTIFY_HEARTBEAT: { unset: 10_000, ...milliseconds, bad: notDurations },
  DOORBELL_URL: {
    unset: undefined,
    good: Object.fromEntries(
      [
        'nats://broker',
        'nats://token@broker:4222',
        'tls://a:b@broker',
        'redis://a:b@127.0.0.1:6379',
        'rediss://[::1]',
      ].map(url => [url, url]),
    ),
    bad: ['', 'broker:4222', 'nats://', 'amqp://broker', 'ws://broker', 'postgresql://broker/db'],
  },
  HEALTH_INTERVAL: { unset: 1000, ...milliseconds, bad: notDurations },
  METRICS_LISTEN: {
    unset: undefined,
    good: { '127.0.0.1:9464': '127.0.0.1:9464', '[::1]:0': '[::1]:0' },
    bad: ['', 'localhost', ':9464', 'localhost:', 'localhost:http'],
  },
  PAGE_LISTEN: {
    unset: 'auto',
    good: { off: 'off', auto: 'auto', '127.0.0.1:50080': '127.0.0.1:50080', '[::1]:0': '[::1]:0' },
    bad: ['', 'on', 'localhost', ':50080', 'localhost:', 'localhost:http'],
  },
  TRACES_ENDPOINT: {
    unset: undefined,
    good: { 'http://127.0.0.1:4318/v1/traces': 'http://127.0.0.1:4318/v1/traces', 'https://a/b': 'https://a/b' },
    bad: ['', '127.0.0.1:4318', 'grpc://127.0.0.1:4317'],
  },
  TRACES_RATIO: {
    unset: 0.01,
    good: { '0': 0, '1': 1, '0.25': 0.25, '0.000001': 0.000001 },
    bad: ['', '-1', '1.1', '2', '.5', '1e-3', '0.0000001', 'x'],
  },
  PROFILE_DIR: { unset: undefined, good: { '/var/tmp/profiles': '/var/tmp/profiles' }, bad: [''] },
  PROFILE_DURATION: { unset: 10_000, ...milliseconds, bad: notDurations },
  SERVICE_LOG: {
    unset: 'info',
    good: { trace: 'trace', silent: 'silent' },
    bad: ['', 'INFO', 'verbose'],
  },
};

const rows = Object.entries(table) as [Name, (typeof table)[Name]][];

describe('loadConfig', () => {
  it('gives every setting its default', () => {
    const defaults = rows.filter(([, { unset }]) => unset !== undefined).map(([name, { unset }]) => [name, unset]);
    const off = rows
      .filter(([, { unset, good }]) => unset === undefined && 'off' in good)
      .map(([name]) => [name, undefined]);
    assert.deepEqual(loadConfig({}), { ...Object.fromEntries(defaults), ...Object.fromEntries(off) });
  });

  it('is not disturbed by other variables', () => {
    assert.deepEqual(loadConfig({ PATH: '/bin', LISTENING: 'x' }), loadConfig({}));
  });

  for (const [name, { good, bad, beside }] of rows) {
    it(`accepts what ${name} may be and refuses what it may not`, () => {
      for (const [text, value] of Object.entries(good)) {
        assert.deepEqual(loadConfig({ ...beside, [name]: text })[name], value);
      }
      for (const text of bad) assert.deepEqual(problems({ [name]: text }), [name], `${name}=${text}`);
    });
  }

  it('reports every bad setting at once, with its value', () => {
    const env = Object.fromEntries(rows.map(([name, { bad }]) => [name, bad.at(-1)!]));
    assert.deepEqual(problems(env).sort(), Object.keys(table).sort());
    assert.throws(() => loadConfig({ NOTIFY: 'maybe', TAIL_POLL: 'often' }), /TAIL_POLL=often: .*\n.*NOTIFY=maybe: /);
  });

  it('does not repeat the password of a broker', () => {
    for (const env of [
      { DOORBELL_URL: 'amqp://user:hunter2@host' },
      { DOORBELL_URL: 'nats://user:hunter2@host', NOTIFY: 'off' },
    ])
      assert.throws(
        () => loadConfig(env),
        (error: Error) => /DOORBELL_URL=\.\.\.: /.test(error.message) && !error.message.includes('hunter2'),
      );
  });

  it('does not repeat the password of a database', () => {
    assert.throws(
      () => loadConfig({ DATABASE_URL: 'mysql://user:hunter2@host/db' }),
      (error: Error) => !error.message.includes('hunter2'),
    );
  });
});

describe('loadConfig, of what settings ask of each other,', () => {
  it('accepts TLS, mutual TLS and tokens when they are complete', () => {
    for (const env of [tls, mutual, tokens, { ...mutual, ...tokens }]) loadConfig(env);
  });

  it('refuses what is not complete or says nothing', () => {
    const scopes = { TLS_CLIENT_SCOPES: 'a=read' };
    const cases: [Record<string, string>, Name[]][] = [
      [{ DOORBELL_URL: 'nats://a', NOTIFY: 'off' }, ['DOORBELL_URL']],
      [{ ENGINE: 'citus' }, ['ENGINE']],
      [
        { ENGINE: 'citus', DATABASE_URL: 'postgresql://a/b', DATABASE_READ_URL: 'postgresql://c/d' },
        ['DATABASE_READ_URL'],
      ],
      [{ TLS_CERT: 'a' }, ['TLS_CERT']],
      [{ TLS_KEY: 'a' }, ['TLS_KEY']],
      [{ TLS_CLIENT_CA: 'a' }, ['TLS_CLIENT_CA']],
      [{ ...tls, ...scopes }, ['TLS_CLIENT_SCOPES']],
      [{ ...mutual, ...tokens, ...scopes }, ['TLS_CLIENT_SCOPES']],
      [{ TOKEN_JWKS: 'a' }, ['TOKEN_JWKS']],
      [{ TOKEN_ISSUER: 'a', TOKEN_AUDIENCE: 'a' }, ['TOKEN_ISSUER', 'TOKEN_AUDIENCE']],
    ];
    for (const [env, wrong] of cases) assert.deepEqual(problems(env), wrong, JSON.stringify(env));
  });

  it('serves where others can connect with TLS and identity only, unless it is said so', () => {
    for (const host of ['127.0.0.1', '127.255.0.1', 'localhost', '[::1]']) loadConfig({ LISTEN: `${host}:1` });
    for (const host of [
      '0.0.0.0',
      '[::]',
      '10.0.0.1',
      '128.0.0.1',
      '[::ffff:10.0.0.1]',
      'localhost.example.org',
      'db',
    ]) {
      const LISTEN = `${host}:1`;
      for (const env of [{}, tls, tokens]) assert.deepEqual(problems({ ...env, LISTEN }), ['LISTEN'], LISTEN);
      for (const env of [mutual, { ...tls, ...tokens }, { INSECURE: 'on' }]) loadConfig({ ...env, LISTEN });
    }
  });

  it('shows the status page where others can connect only if it is said so', () => {
    for (const host of ['127.0.0.1', 'localhost', '[::1]']) loadConfig({ PAGE_LISTEN: `${host}:1` });
    for (const host of ['0.0.0.0', '[::]', '10.0.0.1', 'page.example.org']) {
      const PAGE_LISTEN = `${host}:1`;
      for (const env of [{}, mutual]) assert.deepEqual(problems({ ...env, PAGE_LISTEN }), ['PAGE_LISTEN'], host);
      loadConfig({ PAGE_LISTEN, INSECURE: 'on' });
    }
  });

  it('names the settings that are missing', () => {
    const [all, identity, transport] = [{}, tls, tokens].map(env => {
      try {
        return assert.fail(JSON.stringify(loadConfig({ ...env, LISTEN: '0.0.0.0:1' })));
      } catch (error) {
        return (error as Error).message;
      }
    });
    assert.match(all!, /LISTEN=0.0.0.0:1: .*TLS_CERT and TLS_KEY; and TOKEN_JWKS, .*INSECURE=on/);
    assert.match(identity!, /set TOKEN_JWKS, TOKEN_ISSUER and TOKEN_AUDIENCE, or TLS_CLIENT_CA; or INSECURE=on/);
    assert.match(transport!, /set TLS_CERT and TLS_KEY; or INSECURE=on/);
  });
});

describe('describeSettings', () => {
  it('has a line for every setting, with its default and what it is', () => {
    const lines = new Map(
      describeSettings()
        .split('\n')
        .map(line => [line.trim().split(' ')[0], line]),
    );
    assert.deepEqual([...lines.keys()], Object.keys(settings.shape));
    for (const [name, { unset }] of rows) {
      const { description } = settings.shape[name];
      assert.ok(description && lines.get(name)!.endsWith(description), `${name} is not described`);
      if (typeof unset === 'string') assert.match(lines.get(name)!, new RegExp(`^ +${name} +${unset} `));
    }
  });

  it('shows defaults as they would be set', () => {
    const shown = describeSettings()
      .split('\n')
      .map(line => line.trim().split(/ {2,}/).slice(0, 2));
    const env = Object.fromEntries(shown.filter(([name]) => table[name as Name].unset !== undefined));
    assert.deepEqual(loadConfig(env), loadConfig({}));
  });
});

/** The settings that are reported as wrong, each once. */
function problems(env: Record<string, string>): string[] {
  try {
    loadConfig(env);
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return [...new Set([...error.message.matchAll(/^ {2}([A-Z_]+)=/gm)].map(match => match[1]!))];
  }
}
