import { strict as assert } from 'node:assert';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { configure, type Flags } from '../../../src/cli/configuration.ts';
import { Failure } from '../../../src/cli/failure.ts';
import { environmentName, SETTINGS } from '../../../src/cli/settings.ts';

describe('The configuration of backupctl', () => {
  let home: string;
  let path: string;
  before(() => {
    home = mkdtempSync(join(tmpdir(), 'backupctl-'));
    mkdirSync(join(home, '.config/backupctl'), { recursive: true });
    path = join(home, '.config/backupctl/config.yaml');
  });
  after(() => rmSync(home, { recursive: true }));

  const configured = (text: string, flags: Flags = {}, env: Record<string, string> = {}) => {
    writeFileSync(path, text);
    return configure(flags, { HOME: home, ...env });
  };
  const wrong = async (message: RegExp, text: string, flags: Flags = {}, env: Record<string, string> = {}) => {
    await assert.rejects(configured(text, flags, env), error => {
      assert.ok(error instanceof Failure && error.exit === 'WRONG_USE');
      assert.match(error.message, message);
      return true;
    });
  };

  it('has usual values where nothing is said, also without a file', async () => {
    const usual = {
      address: ['127.0.0.1:50051'],
      tls: false,
      timeout: 30_000,
      output: 'table',
      times: 'local',
      color: 'auto',
    };
    assert.deepEqual(await configured(''), usual);
    assert.deepEqual(await configure({}, { HOME: '/nonexistent' }), usual);
  });

  it('takes flags before environment before context before the top of the file, for every setting', async () => {
    const values: Record<string, [string, string, string, string]> = {
      address: ['a:1', 'b:2', 'c:3', 'd:4'],
      tls: ['true', 'false', 'true', 'false'],
      timeout: ['1s', '2s', '3s', '4s'],
      output: ['json', 'yaml', 'table', 'json'],
      times: ['iso', 'relative', 'local', 'iso'],
      color: ['never', 'always', 'auto', 'never'],
    };
    for (const setting of SETTINGS) {
      const [top, context, env, flag] = values[setting.name] ?? ['/1', '/2', '/3', '/4'];
      const { name, key, parse } = setting;
      const of = (all: object) => (all as Record<string, unknown>)[key];
      const file = `${name}: "${top}"\ncontexts: { one: { ${name}: "${context}" }, other: {} }\n`;
      assert.deepEqual(of(await configured(file)), parse(top), name);
      assert.deepEqual(of(await configured(file, { context: 'other' })), parse(top), name);
      assert.deepEqual(of(await configured(`context: one\n${file}`)), parse(context), name);
      assert.deepEqual(of(await configured(file, {}, { BACKUPCTL_CONTEXT: 'one' })), parse(context), name);
      const variable = { [environmentName(setting)]: env };
      assert.deepEqual(of(await configured(file, { context: 'one' }, variable)), parse(env), name);
      assert.deepEqual(of(await configured(file, { context: 'one', [key]: parse(flag) }, variable)), parse(flag), name);
    }
  });

  it('finds its file by flag, by environment, in XDG_CONFIG_HOME, and then in the home', async () => {
    const other = join(home, 'other.yaml');
    writeFileSync(other, 'times: iso');
    writeFileSync(path, 'times: relative');
    mkdirSync(join(home, 'xdg/backupctl'), { recursive: true });
    writeFileSync(join(home, 'xdg/backupctl/config.yaml'), 'times: local\noutput: yaml');
    const timesOf = async (flags: Flags, env = {}) => (await configure(flags, { HOME: home, ...env })).times;
    assert.equal(await timesOf({}), 'relative');
    assert.equal(await timesOf({ config: other }, { BACKUPCTL_CONFIG: path }), 'iso');
    assert.equal(await timesOf({}, { BACKUPCTL_CONFIG: other }), 'iso');
    assert.equal(await timesOf({}, { XDG_CONFIG_HOME: join(home, 'xdg') }), 'local');
  });

  it('sees paths from where the file is, and addresses as a list or with commas', async () => {
    const settings = await configured('tls-ca: ca.crt\ntoken-file: /run/token\naddress: [a:1, "[::1]:2"]');
    assert.equal(settings.tlsCa, join(home, '.config/backupctl/ca.crt'));
    assert.equal(settings.tokenFile, '/run/token');
    assert.deepEqual(settings.address, ['a:1', '[::1]:2']);
    assert.deepEqual((await configured('address: "a:1, b:2"')).address, ['a:1', 'b:2']);
  });

  it('says what is wrong and where', async () => {
    await wrong(/config\.yaml: unknown key adress; known are address, tls,/, 'adress: a:1');
    await wrong(/config\.yaml: unknown key contexts\.one\.colour; known/, 'contexts: { one: { colour: never } }');
    await wrong(/config\.yaml: contexts\.one\.timeout must be a time/, 'contexts: { one: { timeout: 5 } }');
    await wrong(/config\.yaml: contexts\.one must be a mapping/, 'contexts: { one: a:1 }');
    await wrong(/config\.yaml: it must be a mapping/, '- 1');
    await wrong(/config\.yaml: .*at line 1/, 'a: [');
    await wrong(/config\.yaml: there is no context two; there are one$/, 'contexts: { one: {} }', { context: 'two' });
    await wrong(/there is no context toString; there are one$/, 'contexts: { one: {} }', { context: 'toString' });
    await wrong(/^BACKUPCTL_OUTPUT must be one of table, json, yaml$/, '', {}, { BACKUPCTL_OUTPUT: 'xml' });
    await wrong(/^BACKUPCTL_ADDRESS "nowhere" must be host:port$/, '', {}, { BACKUPCTL_ADDRESS: 'nowhere' });
    await wrong(/the configuration file cannot be read: ENOENT/, '', { config: '/nonexistent/config.yaml' });
  });
});
