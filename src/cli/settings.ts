import { InvalidArgumentError, Option } from 'commander';
import { addresses, choice, duration, file, text } from './arguments.ts';

/** What every command of `backupctl` takes: by flag, by environment, in the configuration file, or else as it is usual. */
export type Settings = {
  /** Replicas as host:port, one or more. */
  address: string[];
  /** TLS also without one of the files. */
  tls: boolean;
  tlsCa?: string;
  tlsCert?: string;
  tlsKey?: string;
  token?: string;
  tokenFile?: string;
  /** Milliseconds that a call may take; streams have no end. */
  timeout: number;
  output: Format;
  times: Times;
  color: Color;
};

export type Format = (typeof FORMATS)[number];
export type Times = (typeof TIMES)[number];
export type Color = (typeof COLORS)[number];

const FORMATS = ['table', 'json', 'yaml'] as const;
const TIMES = ['local', 'iso', 'relative'] as const;
const COLORS = ['auto', 'always', 'never'] as const;

/** A setting under its one name: `tls-ca` is the flag `--tls-ca`, BACKUPCTL_TLS_CA, and the key `tls-ca` of the file. */
export type Setting = {
  name: string;
  key: keyof Settings;
  group: 'Connection:' | 'Output:';
  value?: string;
  short?: string;
  usual?: unknown;
  /** A path: in the configuration file it is seen from where that file is. */
  isFile?: true;
  /** Throws InvalidArgumentError. */
  parse: (text: string) => unknown;
  about: string;
};

export const SETTINGS: Setting[] = [
  {
    name: 'address',
    key: 'address',
    group: 'Connection:',
    value: 'host:port',
    usual: ['127.0.0.1:50051'],
    parse: addresses,
    about: 'the service; several replicas with commas, of which one that answers is taken (127.0.0.1:50051)',
  },
  {
    name: 'tls',
    key: 'tls',
    group: 'Connection:',
    usual: false,
    parse: yes,
    about: "TLS with the system's authorities; the files below and a token switch it on as well",
  },
  {
    name: 'tls-ca',
    key: 'tlsCa',
    group: 'Connection:',
    value: 'file',
    isFile: true,
    parse: file,
    about: 'authorities to trust (PEM)',
  },
  {
    name: 'tls-cert',
    key: 'tlsCert',
    group: 'Connection:',
    value: 'file',
    isFile: true,
    parse: file,
    about: 'certificate to show (PEM)',
  },
  {
    name: 'tls-key',
    key: 'tlsKey',
    group: 'Connection:',
    value: 'file',
    isFile: true,
    parse: file,
    about: 'its key (PEM)',
  },
  {
    name: 'token-file',
    key: 'tokenFile',
    group: 'Connection:',
    value: 'file',
    isFile: true,
    parse: file,
    about: 'bearer token; read again for every call',
  },
  {
    name: 'token',
    key: 'token',
    group: 'Connection:',
    value: 'token',
    parse: text,
    about: 'the token itself; other users of this machine can see flags, so rather BACKUPCTL_TOKEN',
  },
  {
    name: 'timeout',
    key: 'timeout',
    group: 'Connection:',
    value: 'time',
    usual: 30_000,
    parse: duration,
    about: 'how long a call may take (30s); streams go on',
  },
  {
    name: 'output',
    key: 'output',
    short: '-o',
    group: 'Output:',
    value: 'format',
    usual: 'table',
    parse: choice(FORMATS),
    about: 'table, json or yaml (table); of streams JSON has one line for each item',
  },
  {
    name: 'times',
    key: 'times',
    group: 'Output:',
    value: 'kind',
    usual: 'local',
    parse: choice(TIMES),
    about: 'local, iso or relative (local); in tables',
  },
  {
    name: 'color',
    key: 'color',
    group: 'Output:',
    value: 'when',
    usual: 'auto',
    parse: choice(COLORS),
    about: 'auto, always or never (auto: on a terminal, unless NO_COLOR or FORCE_COLOR say otherwise)',
  },
];

export function environmentName({ name }: Pick<Setting, 'name'>): string {
  return `BACKUPCTL_${name.toUpperCase().replaceAll('-', '_')}`;
}

/** The flags of all settings, and those that say which file and which of its contexts hold the others. */
export function settingOptions(): Option[] {
  const all = SETTINGS.map(({ name, short, value, parse, about, group }) => {
    const option = new Option(`${short ? `${short}, ` : ''}--${name}${value ? ` <${value}>` : ''}`, about).helpGroup(
      group,
    );
    if (value)
      option.argParser(
        name === 'address' ? (given, before) => [...((before as string[]) ?? []), ...addresses(given)] : parse,
      );
    return option;
  });
  return [
    ...all,
    new Option(
      '--config <file>',
      'configuration file (BACKUPCTL_CONFIG, else ~/.config/backupctl/config.yaml)',
    ).helpGroup('Connection:'),
    new Option('--context <name>', 'which of its contexts (BACKUPCTL_CONTEXT, else what the file says)').helpGroup(
      'Connection:',
    ),
  ];
}

function yes(given: string): boolean {
  if (!/^(true|false|on|off|1|0)$/.test(given)) throw new InvalidArgumentError('must be true or false');
  return /^(true|on|1)$/.test(given);
}
