import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Migration } from '@mikro-orm/migrations';
import { DIVIDED } from '../../src/db/engine.ts';
import { MIGRATIONS } from '../../src/db/orm.ts';

const divided = `(?:only )?"?(?:${DIVIDED.join('|')})"? `;

/** Not what is there already where the table is large: see CONTRIBUTING.md about tables that may be partitioned. */
const MAKES_INDEX = new RegExp(`^create (unique )?index (?!concurrently|if not exists .* on ${divided})`, 'i');

/** What keeps a table from its users for as long as it is large, or from the version before. */
const dangers: [danger: string, pattern: RegExp][] = [
  [
    'is refused where the table is partitioned',
    new RegExp(`^create (unique )?index concurrently .* on ${divided}`, 'i'),
  ],
  [
    'is refused where the table is partitioned',
    new RegExp(`^create unique index .* on ${divided}[^(]*\\((?!"?backupid)`, 'i'),
  ],
  ['is refused where the table is partitioned', new RegExp(`^alter table ${divided}set \\(`, 'i')],
  ['reads the whole table while nobody may write: create it concurrently', MAKES_INDEX],
  ['rewrites the table', /alter column "?\w+"? (set data )?type /i],
  ['rewrites the table', / generated always as .* stored/i],
  [
    'rewrites the table',
    /\badd (column )?"?\w+"? .*default (?!'|\d|true|false|null|floor\(extract\(epoch from now\(\)\)\))/i,
  ],
  ['reads the whole table: add a check as not valid, validate it, then', / set not null/i],
  ['reads the whole table: add it as not valid, and validate it in a later one', /add constraint (?!.*not valid)/i],
  ['rewrites the table', /^(vacuum|cluster|truncate)/i],
  ['breaks the version before, which still runs', /^drop table|drop column|rename /i],
  ['changes all rows in one transaction', /^(update|delete) (?!.*backup_settings)/i],
];

/** How many such statements there are in migrations that came before this rule: no service had data then. */
const before: Record<string, number> = {
  Migration20261122233135: 2,
  Migration20261124111828: 0,
  Migration20261124120511: 3,
  Migration20261126005618: 2,
};

describe('The migrations', () => {
  const [first, ...names] = readdirSync(MIGRATIONS)
    .filter(file => file.endsWith('.ts'))
    .map(file => file.replace('.ts', ''))
    .toSorted();

  for (const name of names)
    it(`${name} is safe on tables that are large and in use`, async () => {
      const found = await dangersOf(name);
      assert.equal(found.length, before[name] ?? 0, found.join('\n'));
    });

  it('are judged by rules that see what is dangerous', async () => {
    assert.equal(first, 'Migration20261122222158');
    const bad = [
      'create index x on backup_logs (id)',
      'create index concurrently x on backup_logs (id)',
      'create unique index if not exists x on "backup_logs" ("id")',
      'create index if not exists x on backup_controllers (id)',
      'alter table backup_logs set (fillfactor = 90)',
      'alter table backup_logs alter column id type int',
      'alter table backup_logs add x int generated always as (id) stored',
      'alter table backup_logs add x uuid not null default gen_random_uuid()',
      'alter table backup_logs alter column x set not null',
      'alter table backup_logs add constraint x check (id > 0)',
      'vacuum full backup_logs',
      'alter table backup_logs drop column x',
      'update backup_logs set id = 1',
    ];
    for (const sql of bad) assert.equal(judge([sql]).length, 1, sql);
    const good = [
      'create index concurrently x on backup_controllers (id)',
      'create index if not exists x on backup_logs (id)',
      'create unique index if not exists x on backup_logs (backupid, id)',
      'alter table "backup_logs" add "x" bigint null',
      `alter table "backup_logs" add "x" varchar(300) not null default ''`,
      'alter table backup_logs add constraint x check (id > 0) not valid',
      'drop index x',
    ];
    assert.deepEqual(judge(good), []);
    assert.deepEqual(judge(['create table "x" ("id" int)', 'create index "y" on "x" ("id")']), []);
  });
});

async function dangersOf(name: string): Promise<string[]> {
  const { [name]: Class } = (await import(join(MIGRATIONS, `${name}.ts`))) as Record<
    string,
    new (
      ...args: unknown[]
    ) => Migration
  >;
  const migration = new Class!({}, {});
  await migration.up();
  return judge(migration.getQueries().map(String));
}

/** The statements that are dangerous, and why. A table that is new is nobody's. */
function judge(statements: string[]): string[] {
  const created = statements.flatMap(sql => sql.match(/^create table "?(\w+)"?/i)?.[1] ?? []);
  return statements
    .filter(
      sql =>
        !created.some(table => new RegExp(`^(create (unique )?index .* on|alter table) "?${table}"? `, 'i').test(sql)),
    )
    .flatMap(sql => {
      const danger = dangers.find(([, pattern]) => pattern.test(sql));
      return danger ? [`${danger[0]}: ${sql}`] : [];
    });
}
