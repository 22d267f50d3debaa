import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { createTemplate, dropTemplate } from './database.ts';
import { fastFolder } from './fast-folder.ts';
import { type Pooler, startPgbouncer } from './pgbouncer.ts';
import { repository } from './process.ts';

// Node strips types of each file, and compiles it, in every process that a test starts: kept, half of their processor time is spared.
process.env['NODE_COMPILE_CACHE'] ??= join(repository, 'node_modules/.cache/compiled');

let embedded: EmbeddedPostgres | undefined;
let folder: string | undefined;
let pooler: Pooler | undefined;

/** One PostgreSQL for the run: that of TEST_DATABASE_URL, else an embedded one that nobody else uses; with TEST_POOLER=on a PgBouncer before it. */
export async function mochaGlobalSetup(): Promise<void> {
  if (process.env['ENGINE'] === 'citus') {
    if (!process.env['TEST_CITUS_URL'])
      throw new Error("ENGINE=citus needs TEST_CITUS_URL, of a cluster's coordinator");
    process.env['TEST_DATABASE_URL'] = process.env['TEST_CITUS_URL'];
  }
  if (!process.env['TEST_DATABASE_URL']) {
    folder = mkdtempSync(join(fastFolder(), 'backup-management-test-'));
    embedded = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres'), durable: false });
    process.env['TEST_DATABASE_URL'] = embedded.url;
  }
  await createTemplate();
  if (process.env['TEST_POOLER'] !== 'on') return;
  pooler = await startPgbouncer(process.env['TEST_DATABASE_URL']!);
  process.env['TEST_POOLER_URL'] = pooler.urlOf(process.env['TEST_DATABASE_URL']!);
}

export async function mochaGlobalTeardown(): Promise<void> {
  await pooler?.[Symbol.asyncDispose]();
  await dropTemplate();
  await embedded?.[Symbol.asyncDispose]();
  if (folder) rmSync(folder, { recursive: true, force: true });
}
