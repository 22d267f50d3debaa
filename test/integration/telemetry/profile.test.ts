import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { ready, run } from '../../support/process.ts';

describe('SIGUSR2', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'profiles-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const start = (url: string, settings: Record<string, string>) =>
    run('node', ['src/main.ts'], { DATABASE_URL: url, LISTEN: '127.0.0.1:0', ...settings });

  it('writes what the processor does and what is in memory to a folder of its own, once at a time', async () => {
    await using database = await createDatabase();
    const folder = join(root, 'own');
    await using service = start(database.url, { PROFILE_DIR: folder, PROFILE_DURATION: '300ms' });
    await ready(service);
    service.child.kill('SIGUSR2');
    service.child.kill('SIGUSR2');
    await eventually(() => assert.match(service.output(), /"msg":"profile"/));
    const files = readdirSync(folder).sort();
    assert.deepEqual(
      files.map(file => file.replace(/.*\./, '')),
      ['cpuprofile', 'heapsnapshot'],
    );
    assert.equal(statSync(folder).mode & 0o777, 0o700);
    const [cpu, heap] = files.map(file => JSON.parse(readFileSync(join(folder, file), 'utf8')));
    const took = (cpu.endTime - cpu.startTime) / 1000;
    assert.ok(took >= 250 && took < 20_000, `${took} ms`);
    assert.ok(cpu.nodes.length > 1 && heap.snapshot.node_count > 10_000);
    service.child.kill('SIGTERM');
    assert.equal(await service.exit(), 0);
  });

  it('is not heeded where no folder was given', async () => {
    await using database = await createDatabase();
    await using service = start(database.url, {});
    await ready(service);
    service.child.kill('SIGUSR2');
    await eventually(() => assert.match(service.output(), /PROFILE_DIR/));
    service.child.kill('SIGTERM');
    assert.equal(await service.exit(), 0);
  });
});
