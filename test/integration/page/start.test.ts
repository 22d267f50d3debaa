import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDatabase, type Database } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { ask } from '../../support/page.ts';
import { ready, run } from '../../support/process.ts';

const said = /^Its status page is http:\/\/(\S+)\/$/m;

/** Its own database, whichever the tests are run on. */
const EMBEDDED = { DATABASE_URL: undefined, ENGINE: 'plain' };

describe('npm start, with a status page,', () => {
  let database: Database;
  before(async () => {
    database = await createDatabase();
  });
  after(() => database[Symbol.asyncDispose]());

  const start = (settings: Record<string, string | undefined>) =>
    run('npm', ['start'], { DATABASE_URL: database.url, LISTEN: '127.0.0.1:0', ...settings });

  it('prints where it is, and has none on a database of somebody unless it is asked for', async () => {
    await using service = start({ PAGE_LISTEN: '127.0.0.1:0' });
    await ready(service);
    const page = await eventually(() => said.exec(service.output())?.[1] ?? assert.fail(service.output()));
    assert.equal((await ask(page, '/')).status, 200);
    await using other = start({});
    await ready(other);
    assert.doesNotMatch(other.output(), said);
  });

  it('refuses to show it where others can connect, or does so with a warning when it is told to', async () => {
    await using refused = start({ PAGE_LISTEN: '0.0.0.0:0' });
    assert.equal(await refused.exit(), 1);
    assert.match(refused.output(), /PAGE_LISTEN=0.0.0.0:0: .*behind a proxy.*INSECURE=on/);
    await using service = start({ PAGE_LISTEN: '0.0.0.0:0', INSECURE: 'on' });
    await ready(service);
    await eventually(() => assert.match(service.output(), /everybody who reaches 0.0.0.0:0 can read the status page/));
  });

  it('has one by itself in development, and starts without it when another service has its port', async () => {
    const blocker = createServer();
    // Services of other tests have it for a while.
    await eventually(() => once(blocker.listen(50080, '127.0.0.1'), 'listening'), 120_000);
    const folder = mkdtempSync(join(tmpdir(), 'backup-management-page-'));
    try {
      await using service = start({ ...EMBEDDED, DATA_DIR: folder });
      await ready(service);
      const taken = /there is no status page: 127.0.0.1:50080 is taken; PAGE_LISTEN gives/;
      await eventually(() => assert.match(service.output(), taken));
      service.child.kill('SIGTERM');
      assert.equal(await service.exit(), 0);
    } finally {
      blocker.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('has none by itself where callers are asked who they are', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'backup-management-page-'));
    try {
      await using service = start({
        ...EMBEDDED,
        DATA_DIR: folder,
        TOKEN_JWKS: 'http://127.0.0.1:1/keys.json',
        TOKEN_ISSUER: 'https://id.example.org',
        TOKEN_AUDIENCE: 'backup',
      });
      await ready(service);
      assert.doesNotMatch(service.output(), /status page/);
      service.child.kill('SIGTERM');
      await service.exit();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
