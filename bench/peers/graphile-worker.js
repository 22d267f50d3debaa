// Lets graphile-worker work until there are no jobs: node graphile-worker.js URL JOBS WORKERS BATCH. Prints jobs per second. With a batch it
// uses its local queue and completes jobs together.
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import pg from 'pg';

const [url, jobs, workers, batch] = process.argv.slice(2).map((text, i) => (i === 0 ? text : Number(text)));
const pool = new pg.Pool({ connectionString: url, max: 20 }).on('error', console.error);
const utils = await makeWorkerUtils({ pgPool: pool });
await utils.migrate();
await pool.query('truncate graphile_worker._private_jobs');
await pool.query(
  `select graphile_worker.add_jobs(array(select json_populate_record(null::graphile_worker.job_spec,
     json_build_object('identifier', 'bench', 'payload', json_build_object('item', i))) from generate_series(1, $1) i))`,
  [jobs],
);
await pool.query('vacuum analyze');
await pool.query('checkpoint');

let done = 0;
const finished = Promise.withResolvers();
const start = performance.now();
const runner = await run({
  pgPool: pool,
  taskList: {
    bench: () => {
      if (++done === jobs) finished.resolve();
    },
  },
  noHandleSignals: true,
  logger: new Logger(() => () => {}),
  preset: {
    worker: {
      concurrentJobs: batch > 1 ? workers * 4 : workers,
      pollInterval: 1000,
      ...(batch > 1 && { localQueue: { size: workers * batch }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }),
    },
  },
});
await finished.promise;
// What was done counts only when the database has it.
const left = async () => (await pool.query('select count(*)::int as n from graphile_worker._private_jobs')).rows[0].n;
while ((await left()) > 0);
const seconds = (performance.now() - start) / 1000;
await runner.stop();
await utils.release();
await pool.end();
console.log(jobs / seconds);
