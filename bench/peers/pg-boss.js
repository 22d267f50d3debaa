// Fetches and completes jobs of pg-boss until there are none: node pg-boss.js URL JOBS WORKERS BATCH. Prints jobs per second.
import pg from 'pg';
import { PgBoss } from 'pg-boss';

const [url, jobs, workers, batch] = process.argv.slice(2).map((text, i) => (i === 0 ? text : Number(text)));
const queue = 'bench';
const boss = new PgBoss({ connectionString: url, max: 20, supervise: false, schedule: false });
boss.on('error', console.error);
await boss.start();
await boss.deleteQueue(queue).catch(() => {});
await boss.createQueue(queue);
for (let i = 0; i < jobs; i += 1000) {
  await boss.insert(
    queue,
    Array.from({ length: Math.min(1000, jobs - i) }, (_, n) => ({ data: { item: i + n } })),
  );
}
await analyze();

const start = performance.now();
const counts = await Promise.all(
  Array.from({ length: workers }, async () => {
    for (let count = 0; ; ) {
      const fetched = await boss.fetch(queue, { batchSize: batch });
      if (fetched.length === 0) return count;
      await boss.complete(
        queue,
        fetched.map(job => job.id),
      );
      count += fetched.length;
    }
  }),
);
const seconds = (performance.now() - start) / 1000;
const done = counts.reduce((sum, count) => sum + count, 0);
if (done !== jobs) throw new Error(`${done} of ${jobs} done`);
await boss.stop({ graceful: false });
console.log(jobs / seconds);

async function analyze() {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query('vacuum analyze');
  await client.query('checkpoint');
  await client.end();
}
