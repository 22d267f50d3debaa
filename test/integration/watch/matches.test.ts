import { strict as assert } from 'node:assert';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import type { Pool } from 'pg';
import { conditions } from '../../../src/controller/message.ts';
import { sqlOn } from '../../../src/db/sql.ts';
import { ControllerFilterSchema } from '../../../src/gen/backup/v1/controller_pb.ts';
import { matches } from '../../../src/watch/matches.ts';
import { lookForMatches, readControllers } from '../../../src/watch/read.ts';
import { createDatabase, openTestOrm } from '../../support/database.ts';

type Filter = MessageInitShape<typeof ControllerFilterSchema>;

// Few values, so that rows and filters meet.
const count = fc.constantFrom(0n, 1n, 9007199254740993n);
const window = fc.record(
  {
    start: fc.record({ seconds: fc.bigInt(0n, 6n), nanos: fc.constantFrom(0, 1) }),
    end: fc.record({ seconds: fc.bigInt(0n, 6n), nanos: fc.constantFrom(0, 999_999_999) }),
  },
  { requiredKeys: [] },
);
const fields = fc.record({
  operation: fc.constantFrom(0, 1, 2),
  type: fc.constantFrom(0, 1, 2, 3),
  itemId: count,
  userId: count,
  statuses: fc.uniqueArray(fc.constantFrom(100, 300, 800, 900), { maxLength: 3 }),
  purposes: fc.uniqueArray(fc.constantFrom(10, 50, 32767), { maxLength: 2 }),
  format: fc.constantFrom('', 'moodle2', 'imscc1'),
  execution: fc.constantFrom(0, 1, 2),
  created: window,
  updated: window,
});
const names = [
  'operation',
  'type',
  'itemId',
  'userId',
  'statuses',
  'purposes',
  'format',
  'execution',
  'created',
  'updated',
] as const;
// Up to three at a time: hardly a row meets more.
const filters = fc
  .tuple(fields, fc.subarray([...names], { maxLength: 3 }))
  .map(([all, some]) => Object.fromEntries(some.map(name => [name, all[name]])) as Filter);

describe('Whether a controller matches a filter', () => {
  it('is decided for a row that was read as the database decides it', async () => {
    await using database = await createDatabase();
    await database.query(
      `insert into backup_controllers
         (backupid, operation, type, itemid, format, interactive, purpose, userid, status, execution, created_at, updated_at)
       select md5(random()::text || i), pick.operation, pick.type, pick.itemid, pick.format, 0, pick.purpose, pick.userid,
         pick.status, 1 + i % 2, floor(random() * 6), floor(random() * 6)
       from generate_series(1, 300) i, lateral (select
         (array['backup', 'restore'])[1 + i % 2] as operation,
         (array['', 'activity', 'section', 'course'])[1 + (random() * 3)::int] as type,
         (array[0, 1, 9007199254740993])[1 + (random() * 2)::int] as itemid,
         (array[0, 1, 9007199254740993])[1 + (random() * 2)::int] as userid,
         (array['moodle2', 'imscc1'])[1 + (random() + i * 0)::int] as format,
         (array[10, 50, 32767])[1 + (random() * 2)::int] as purpose,
         (array[100, 300, 800, 900])[1 + (random() * 3)::int] as status) pick`,
    );
    const orm = await openTestOrm(database.url);
    try {
      const pool: Pool = await orm.em.getConnection().getNativeClient();
      const ids = (await database.query('select backupid from backup_controllers')).map(
        row => row['backupid'] as string,
      );
      const rows = await readControllers(sqlOn(pool), ids);
      let met = 0;
      const check = async (filter: Filter) => {
        const wanted = conditions(create(ControllerFilterSchema, filter));
        const found = await lookForMatches(orm, wanted, 1000);
        const mine = [...rows].filter(([, { row }]) => matches(wanted, row));
        assert.deepEqual(new Map(mine.map(([id, { version }]) => [id, version])), found);
        met += found.size;
      };
      await fc.assert(fc.asyncProperty(filters, check), { numRuns: 300 });
      assert.ok(met > 1000, `only ${met} rows were met`);
    } finally {
      await orm.close();
    }
  });

  it('is not guessed when conditions are of a kind that it does not know', async () => {
    const row = { backupId: 'a' } as never;
    assert.throws(() => matches({ backupId: { $like: 'a%' } }, row), /does not know \$like/);
    assert.throws(() => matches({ $or: [] }, row), /cannot tell whether \$or/);
  });
});
