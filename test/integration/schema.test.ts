import assert from 'node:assert/strict';
import { type Backend, startBackend } from '../support/backend.ts';

// The columns of the specification and their defaults in Moodle; every one is NOT NULL. `number` is numeric(15,14).
const tables: Record<string, Record<string, [type: string, standard?: string]>> = {
  backup_controllers: {
    id: ['bigint', 'identity'],
    backupid: ['varchar(32)'],
    operation: ['varchar(20)', "'backup'"],
    type: ['varchar(10)'],
    itemid: ['bigint'],
    format: ['varchar(20)'],
    interactive: ['smallint'],
    purpose: ['smallint'],
    userid: ['bigint'],
    status: ['smallint'],
    execution: ['smallint'],
    executiontime: ['bigint'],
    checksum: ['varchar(32)'],
    created_at: ['bigint'],
    updated_at: ['bigint'],
    progress: ['numeric(15,14)', "'0'"],
    controller: ['text'],
  },
  backup_courses: {
    id: ['bigint', 'identity'],
    courseid: ['bigint'],
    laststarttime: ['bigint', "'0'"],
    lastendtime: ['bigint', "'0'"],
    laststatus: ['varchar(1)', "'5'"],
    nextstarttime: ['bigint', "'0'"],
  },
  backup_logs: {
    id: ['bigint'],
    backupid: ['varchar(32)'],
    loglevel: ['smallint'],
    message: ['text'],
    created_at: ['bigint'],
  },
};

const keys: Record<string, string> = {
  backup_controllers: 'backupid',
  backup_courses: 'courseid',
  backup_logs: 'backupid, id',
};

// Values that are refused, and their neighbours that are not.
const edges: [table: string, column: string, refused: string[], accepted: string[]][] = [
  ['backup_controllers', 'operation', ["''", "'copy'", "'BACKUP'"], ["'backup'", "'restore'"]],
  ['backup_controllers', 'type', ["'site'", "'Course'"], ["''", "'activity'", "'section'", "'course'"]],
  ['backup_controllers', 'interactive', ['-1', '2'], ['0', '1']],
  [
    'backup_controllers',
    'status',
    ['0', '50', '150', '1100', '-100'],
    ['100', '200', '300', '500', '600', '900', '1000'],
  ],
  ['backup_controllers', 'execution', ['0', '3'], ['1', '2']],
  [
    'backup_controllers',
    'progress',
    ['-0.00000000000001', '1.00000000000001', "'NaN'"],
    ['0', '1', '0.99999999999999'],
  ],
  ['backup_controllers', 'executiontime', ['-1'], ['0', '9223372036854775807']],
  ['backup_controllers', 'created_at', ['-1'], ['0']],
  ['backup_controllers', 'updated_at', ['-1'], ['0']],
  ['backup_controllers', 'purpose', ['32768'], ['999', '32767']],
  ['backup_controllers', 'maxattempts', ['32768'], ['1', '100']],
  ['backup_controllers', 'attempt', ['2147483648'], ['0', '2147483647']],
  ['backup_logs', 'attempt', ['2147483648'], ['0', '2147483647']],
  ['backup_courses', 'laststatus', ["'7'", "''", "'x'"], ["'0'", "'1'", "'2'", "'3'", "'4'", "'5'", "'6'"]],
  ['backup_courses', 'laststarttime', ['-1'], ['0', '9223372036854775807']],
  ['backup_courses', 'lastendtime', ['-1'], ['0']],
  ['backup_courses', 'nextstarttime', ['-1'], ['0']],
  ['backup_logs', 'id', ['0', '-1'], ['1', '9223372036854775807']],
  ['backup_logs', 'created_nanos', ['-1', '1000000000'], ['0', '999999999']],
];

describe('The schema', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend();
    await backend.database.query(`
      insert into backup_controllers (backupid, type, itemid, format, interactive, purpose, userid, status, execution)
      values ('${'a'.repeat(32)}', '', 0, '', 0, 10, 0, 100, 1);
      insert into backup_courses (courseid) values (1);
      insert into backup_logs (backupid, id, loglevel, message, created_at) values ('${'a'.repeat(32)}', 1, 20, '', 0)`);
  });
  after(() => backend[Symbol.asyncDispose]());

  for (const [table, columns] of Object.entries(tables)) {
    it(`of ${table} has every column of the specification`, async () => {
      const rows = await backend.database.query(
        `select a.attname as name, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as given, a.attidentity <> '' as identity,
                pg_get_expr(d.adbin, d.adrelid) as standard
         from pg_attribute a left join pg_attrdef d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
         where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped`,
        [table],
      );
      const found = new Map(rows.map(row => [row['name'], row]));
      for (const [name, [type, standard]] of Object.entries(columns)) {
        const column = found.get(name);
        assert.ok(column, `${name} is missing`);
        assert.deepEqual([column['type'], column['given']], [type.replace('varchar', 'character varying'), true], name);
        if (standard === 'identity') assert.ok(column['identity'], `${name} is not numbered by the database`);
        else if (standard) assert.equal(unquoted(column['standard']), unquoted(standard), name);
      }
    });

    it(`of ${table} tells its rows apart by ${keys[table]}`, async () => {
      const [primary] = await backend.database.query(
        `select string_agg(a.attname, ', ' order by array_position(i.indkey::int[], a.attnum::int)) as columns
         from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
         where i.indrelid = $1::regclass and i.indisunique and i.indpred is null group by i.indexrelid`,
        [table],
      );
      assert.equal(primary!['columns'], keys[table]);
    });
  }

  it('takes a log before its controller: no foreign key stands in the way', async () => {
    const found = await backend.database.query(
      "select conname from pg_constraint where contype = 'f' and conrelid::regclass::text like 'backup%'",
    );
    assert.deepEqual(found, []);
  });

  for (const [table, column, bad, good] of edges) {
    it(`refuses what ${table}.${column} cannot be`, async () => {
      for (const value of good) await set(table, column, value);
      for (const value of [...bad, 'null']) {
        await assert.rejects(set(table, column, value), { code: /^(23514|23502|22003)$/ }, `${column} = ${value}`);
      }
    });
  }

  it('refuses a lease of a run that is not EXECUTING', async () => {
    await set('backup_controllers', 'status', '800, leasetoken = gen_random_uuid()');
    for (const status of [100, 700, 900, 1000]) {
      const leased = set('backup_controllers', 'status', `${status}, leasetoken = gen_random_uuid()`);
      await assert.rejects(leased, { constraint: 'backup_controllers_lease_check' });
    }
  });

  // In a transaction that is undone, so that the next value starts from the same row.
  const set = (table: string, column: string, value: string) =>
    backend.database.query(`begin; update ${table} set ${column} = ${value}; rollback`);
});

function unquoted(expression: unknown): string {
  return String(expression)
    .replace(/::[a-z ]+(\(\d+(,\d+)?\))?$/, '')
    .replaceAll("'", '')
    .replace(/^\((.*)\)$/, '$1');
}
