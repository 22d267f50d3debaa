// Runs tests on a PostgreSQL of another version: npm run test:postgres -- /usr/lib/postgresql/15/bin [mocha's arguments]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../src/db/embedded.ts';

const [binDir, ...rest] = process.argv.slice(2);
if (!binDir) throw new Error('which? npm run test:postgres -- /usr/lib/postgresql/15/bin');
const files = rest.length > 0 ? rest : ['--spec', 'test/integration/**/*.test.ts'];
const folder = mkdtempSync(join(tmpdir(), 'backup-management-postgres-'));
try {
  await using postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'data'), durable: false, binDir });
  const env = { ...process.env, TEST_DATABASE_URL: postgres.url };
  const [code] = await once(spawn('mocha', files, { env, stdio: 'inherit' }), 'close');
  process.exitCode = code ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
