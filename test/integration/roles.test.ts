import { strict as assert } from 'node:assert';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startReplica } from '../support/backend.ts';
import { administer } from '../support/database.ts';
import { callAll } from '../support/example-call.ts';
import { repository, run } from '../support/process.ts';
import { query } from '../support/query.ts';
import { Subscriber } from '../support/subscriber.ts';
import { append, newBackupId } from '../support/writing.ts';

describe('A role for migrations and one for the service, as the documentation makes them', () => {
  const name = `backup_${randomBytes(4).toString('hex')}`;
  const migrator = urlAs(`${name}_migrator`, 'one');
  const service = urlAs(`${name}_service`, 'another');
  const settings = { MIGRATE: 'off', TAIL_POLL: '60s' };

  before(async () => {
    for (const { sql, inside } of pasted()) {
      if (inside) await query(urlAs(), sql);
      else await administer(sql);
    }
  });
  after(async () => {
    await administer(`drop database ${name} with (force)`);
    await administer(`drop role ${name}_migrator`);
    await administer(`drop role ${name}_service`);
  });

  it('the service says what to do while the schema is not there, and makes none', async () => {
    await assert.rejects(startReplica(service, settings), /lacks Migration\d+, .*: run `npm run cli -- migrate`/);
    assert.deepEqual(await query(service, "select from pg_tables where schemaname = 'public'"), []);
  });

  it('the migrator brings the schema up to date, once', async () => {
    for (const expected of [/^(migrated: Migration\d+\n)+$/, /^the schema is up to date\n$/]) {
      await using cli = run('node', ['src/cli/main.ts', 'migrate'], { DATABASE_URL: migrator });
      assert.equal(await cli.exit(), 0, cli.output());
      assert.match(cli.output(), expected);
    }
  });

  it('the service role may not migrate', async () => {
    const last = 'select name from backup_migrations order by name desc limit 1';
    const [{ name: newest }] = (await query(migrator, last)) as [{ name: string }];
    await query(migrator, `delete from backup_migrations where name = '${newest}'`);
    await using cli = run('node', ['src/cli/main.ts', 'migrate', '--to', service]);
    assert.equal(await cli.exit(), 1);
    assert.match(
      cli.output(),
      /the migration has failed, and nothing has changed: .*(must be owner|permission denied)/,
    );
    await assert.rejects(startReplica(service, settings), /lacks Migration\d+:/);
    await query(migrator, `insert into backup_migrations (name, executed_at) values ('${newest}', now())`);
  });

  it('every method works with the service role, and rings reach the other replica', async () => {
    await using one = await startReplica(service, settings);
    await using other = await startReplica(service, settings);
    assert.ok((await callAll(one)).length > 30);
    const backupId = newBackupId();
    await using subscriber = new Subscriber(other, { backupIds: [backupId], follow: true });
    await subscriber.told('caughtUp');
    await append(one, backupId, ['rung for']);
    await subscriber.received(1);
  });

  it('what a pooler cannot say for a session the role says', async () => {
    const shown = await query(
      service,
      "select setting::int / 1000 as seconds from pg_settings where name in ('statement_timeout', 'idle_in_transaction_session_timeout') order by name",
    );
    assert.deepEqual(
      shown.map(({ seconds }) => seconds),
      [31, 30],
    );
    assert.deepEqual(await query(service, 'show plan_cache_mode'), [{ plan_cache_mode: 'force_generic_plan' }]);
  });

  for (const sql of [
    'create table intruder ()',
    'create temporary table intruder ()',
    'create schema intruder',
    'drop table backup_logs',
    'alter table backup_logs add intruder int',
    'truncate backup_logs',
    'create index intruder on backup_logs (id)',
    'create function intruder() returns int language sql as $$ select 1 $$',
  ])
    it(`the service role cannot ${sql.split(' ').slice(0, 3).join(' ')}`, async () => {
      await assert.rejects(query(service, sql), { code: '42501' });
    });

  /** The statements of the page's blocks, with names of this test's own; `inside` the new database behind \connect. */
  function pasted(): { sql: string; inside: boolean }[] {
    const page = readFileSync(join(repository, 'docs/database.md'), 'utf8');
    const blocks = [...page.matchAll(/^```sql\n([\s\S]*?)^```$/gm)].map(([, block]) => block);
    const sql = blocks.join('').replaceAll(/\bbackup(?=_migrator|_service|[; ]|$)/gm, name);
    const [outside, inside] = sql.split(/^\\connect .*\n/m);
    const statements = (text = '') => text.split(/;\n/).filter(sql => sql.trim());
    return [
      ...statements(outside).map(sql => ({ sql, inside: false })),
      ...statements(inside).map(sql => ({ sql, inside: true })),
    ];
  }

  function urlAs(user?: string, password = ''): string {
    const url = new URL(process.env['TEST_DATABASE_URL'] ?? 'postgresql://nobody');
    url.pathname = `/${name}`;
    if (user) Object.assign(url, { username: user, password });
    return url.href;
  }
});
