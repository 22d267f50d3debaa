import assert from 'node:assert/strict';
import pg from 'pg';
import { forgetAnswers } from '../../../src/request/forget.ts';
import { createDatabase } from '../../support/database.ts';

describe('The note that a controller was deleted', () => {
  it('is forgotten after its time and not before', async () => {
    await using database = await createDatabase();
    await database.query(
      `insert into backup_removals (backupid, created_at)
       select i::text, floor(extract(epoch from now())) - i from generate_series(1, 2200) i`,
    );
    const pool = new pg.Pool({ connectionString: database.url });
    const forgotten = await forgetAnswers(pool, 1_100_000, new AbortController().signal);
    await pool.end();
    const rows = await database.query('select backupid::int as age from backup_removals order by 1');
    assert.equal(forgotten, 2200 - rows.length);
    // Some seconds may have passed in between.
    assert.ok(rows.length <= 1100 && rows.length > 1000, String(rows.length));
    assert.equal(rows.at(-1)!['age'], rows.length);
  });
});
