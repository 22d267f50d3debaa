import { strict as assert } from 'node:assert';
import { acceleratorsOff, startBackend, startReplica } from '../../support/backend.ts';
import { backupctl } from '../../support/backupctl.ts';
import { Cable } from '../../support/cable.ts';
import { engine } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';

type Check = { name: string; state: string; text: string; hint?: string };
type Told = { replicas: { address: string; checks: Check[] }[]; together: Check[] };

describe('backupctl doctor', () => {
  // A process for every command, and several processors' worth of other tests beside it.
  const examined = async (...addresses: string[]) => {
    const { code, stdout, stderr } = await backupctl(['doctor', '-o', 'json', '--address', addresses.join()]);
    assert.equal(stderr, '');
    const told = JSON.parse(stdout) as Told;
    const checks = told.replicas[0]!.checks;
    return { code, told, named: (name: string) => checks.find(check => check.name === name) ?? assert.fail(stdout) };
  };

  it('says that all is well, in all that it looks at', async function () {
    if (acceleratorsOff) this.skip();
    await using backend = await startBackend({ settings: { RETENTION: '30d' } });
    await eventually(async () => assert.ok((await backend.replica.describeReplica({})).listener!.connected));
    const { code, stdout } = await backupctl(['doctor'], { BACKUPCTL_ADDRESS: backend.address });
    assert.equal(code, 0, stdout);
    const lines = stdout.split('\n');
    assert.equal(lines[0], backend.address);
    const names = lines
      .filter(line => line.startsWith('  ok '))
      .map(line => /^ {2}ok {3}(.{11})/.exec(line)![1]!.trim());
    assert.deepEqual(
      names,
      [
        'connection',
        'TLS',
        'call',
        'health',
        'identity',
        'version',
        'clock',
        'database',
        ...(engine === 'citus' ? ['cluster'] : []),
        'db clock',
        'schema',
        'listener',
        'retention',
      ],
      stdout,
    );
    assert.deepEqual(lines.slice(-3), ['', 'all is well', '']);
  });

  it('says what is wrong with a replica, and how to mend it, and ends with 1', async () => {
    // A cluster is read from without standbys.
    const hasStandby = engine !== 'citus';
    await using backend = await startBackend({
      settings: {
        NOTIFY: 'off',
        HEALTH_INTERVAL: '20ms',
        ...(hasStandby && { DATABASE_READ_URL: process.env['TEST_DATABASE_URL']! }),
      },
    });
    if (hasStandby) await eventually(() => assert.equal(backend.app.standby!.state, 'PROMOTED'));
    await using cable = await Cable.start(new URL(backend.database.url));
    const url = Object.assign(new URL(backend.database.url), { hostname: '127.0.0.1', port: String(cable.port) }).href;
    const settings = {
      DATABASE_CONNECT_TIMEOUT: '2s',
      HEALTH_INTERVAL: '20ms',
      NOTIFY: 'on',
      DATABASE_DIRECT_URL: url,
    };
    await using replica = await startReplica(url, settings);

    const off = await examined(backend.address);
    assert.equal(off.code, 0);
    assert.equal(off.named('listener').state, 'warning');
    assert.equal(off.named('retention').state, 'warning');
    if (hasStandby) assert.equal(off.named('standby').state, 'warning');
    if (hasStandby) assert.match(off.named('standby').text, /^is no standby/);

    await backend.database.query("insert into backup_migrations (name) values ('Migration29990101000000')");
    const newer = await examined(backend.address);
    assert.equal(newer.code, 0);
    assert.match(newer.named('schema').text, /^has Migration29990101000000 of a later version/);
    await backend.database.query(
      "delete from backup_migrations where name like 'Migration2026%' or name like 'Migration2999%'",
    );
    const older = await examined(backend.address);
    assert.equal(older.code, 1);
    assert.equal(older.named('schema').state, 'bad');
    assert.match(older.named('schema').hint!, /npm run cli -- migrate/);

    await cable[Symbol.asyncDispose]();
    await eventually(async () => assert.equal((await replica.health.check({})).status, 2));
    const cut = await examined(replica.address);
    assert.equal(cut.code, 1);
    assert.deepEqual(
      ['health', 'database', 'listener'].map(name => cut.named(name).state),
      ['bad', 'bad', 'bad'],
    );
    assert.match(cut.named('database').hint!, /DATABASE_URL/);
    assert.equal(cut.named('schema').state, 'skipped');
  });

  it('looks at every address, and compares them', async () => {
    await using backend = await startBackend({ replicas: 2 });
    const [one, other] = backend.replicas.map(({ address }) => address);
    const both = await examined(one!, other!);
    assert.deepEqual(
      both.told.together.map(({ text }) => text),
      ['2 are there', 'all are 0.1.0'],
    );
    const { code, told } = await examined(one!, one!.replace('127.0.0.1', 'localhost'), '127.0.0.1:1');
    assert.equal(code, 1);
    assert.match(told.together[0]!.text, /^2 addresses lead to 1$/);
    const [last] = told.replicas[2]!.checks;
    assert.deepEqual([last!.state, last!.text], ['bad', 'connect ECONNREFUSED 127.0.0.1:1']);
    assert.match(last!.hint!, /^nothing listens there/);
  });
});
