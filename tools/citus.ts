import { spawnSync } from 'node:child_process';

// The integration suite on a cluster of Citus: the one whose coordinator TEST_CITUS_URL names. Without that it says that nothing was tested.

/** What is not about a cluster, each with the reason. */
const LEFT_OUT: [files: string, why: string][] = [
  ['docs/**/*', 'commands of pages, on one PostgreSQL; what is said of clusters is tested by engine/citus-docs'],
  ['roles', 'roles on one PostgreSQL; those of a cluster are tested by engine/citus-docs'],
  [
    'engine/{layout,move,statements}',
    'the engines of one PostgreSQL; citus-move, cluster and shards are the same of Citus',
  ],
  ['standby/*', 'DATABASE_READ_URL does not go with ENGINE=citus'],
  ['telemetry/shipped', 'alerts and panels, of which some are about DATABASE_READ_URL'],
  ['{demo,embedded}', 'the embedded PostgreSQL is no cluster'],
];

if (process.env['TEST_CITUS_URL']) {
  for (const [files, why] of LEFT_OUT) console.warn(`LEFT OUT on Citus: ${files}: ${why}`);
  const ignored = LEFT_OUT.flatMap(([files]) => ['--ignore', `test/integration/${files}.test.ts`]);
  const { status } = spawnSync('node', ['tools/test.ts', '--spec', 'test/integration/**/*.test.ts', ...ignored], {
    env: { ...process.env, ENGINE: 'citus' },
    stdio: 'inherit',
  });
  process.exitCode = status ?? 1;
} else {
  console.warn('LEFT OUT: Citus was not tested, because TEST_CITUS_URL is not set: a database of the coordinator');
  console.warn('LEFT OUT: of a cluster, which knows two workers at least. docs/scaling.md says how to set one up.');
}
