import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { createTemplate, dropTemplate } from './database.ts';

let embedded: EmbeddedPostgres | undefined;
let folder: string | undefined;

/** One PostgreSQL for the run: that of TEST_DATABASE_URL, else an embedded one that nobody else uses. */
export async function mochaGlobalSetup(): Promise<void> {
  if (!process.env['TEST_DATABASE_URL']) {
    folder = mkdtempSync(join(tmpdir(), 'backup-management-test-'));
    embedded = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres'), durable: false });
    process.env['TEST_DATABASE_URL'] = embedded.url;
  }
  await createTemplate();
}

export async function mochaGlobalTeardown(): Promise<void> {
  await dropTemplate();
  await embedded?.[Symbol.asyncDispose]();
  if (folder) rmSync(folder, { recursive: true, force: true });
}
