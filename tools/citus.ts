import { spawnSync } from 'node:child_process';

// The files that pass on a cluster of Citus; docs/scaling.md says which do not. They run on the one whose coordinator TEST_CITUS_URL names.
const FILES = [
  'test/integration/append.test.ts',
  'test/integration/list.test.ts',
  'test/integration/request.test.ts',
  'test/integration/controller/*.test.ts',
  'test/integration/course/*.test.ts',
  'test/integration/engine/shards.test.ts',
  'test/integration/summary/*.test.ts',
  'test/integration/tail/{end,many,order,shared,slow,start}.test.ts',
  'test/integration/work/{cancel,claim,contest,fence,park,release,retry}.test.ts',
];

if (process.env['TEST_CITUS_URL']) {
  const { status } = spawnSync(
    'mocha',
    FILES.flatMap(file => ['--spec', file]),
    {
      env: { ...process.env, ENGINE: 'citus' },
      stdio: 'inherit',
    },
  );
  process.exitCode = status ?? 1;
} else console.warn('LEFT OUT: Citus was not tested, because TEST_CITUS_URL is not set');
