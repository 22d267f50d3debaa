import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../src/db/embedded.ts';
import { openOrm } from '../src/db/orm.ts';

// Writes the migration from the last released schema to what the entities say now. Read it before you commit it: MikroORM knows nothing of
// locks, of data that is there, or of storage parameters.
const folder = mkdtempSync(join(tmpdir(), 'backup-management-migration-'));
{
  await using postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres'), durable: false });
  const orm = await openOrm({
    url: postgres.url,
    poolSize: 2,
    connectTimeoutMs: 5000,
    statementTimeoutMs: 30_000,
    log: console.log,
  });
  await orm.migrator.up();
  const { fileName } = await orm.migrator.create();
  console.log(fileName ? `wrote ${fileName}` : 'the migrations say what the entities say');
  await orm.close();
}
rmSync(folder, { recursive: true, force: true });
