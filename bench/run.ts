// Measures the service against ceilings of the same run, and against its peers.
//
//   npm run bench                          everything
//   npm run bench -- queue                 what has this in its name
//   npm run bench -- --rounds 7 --json FILE
//
// The service and the database are processes of their own, with default durability (fsync and synchronous_commit on). Who is compared runs
// in turn, round after round, so that a machine that becomes slower does so for all; what is told is the median of the rounds.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startEmbeddedPostgres } from '../src/db/embedded.ts';
import { appends } from './append.ts';
import { clusters } from './cluster.ts';
import { costs } from './costs.ts';
import { doorbells } from './doorbell.ts';
import { fanOuts } from './fan-out.ts';
import { type Figure, print } from './figure.ts';
import { gets } from './get.ts';
import { growth } from './growth.ts';
import { histories } from './history.ts';
import { identities } from './identity.ts';
import { imports } from './import.ts';
import { ingests } from './ingest.ts';
import { latencies } from './latency.ts';
import { lists } from './list.ts';
import { memory } from './memory.ts';
import { payloads } from './payload.ts';
import { progress } from './progress.ts';
import { queue } from './queue.ts';
import { replicas } from './replicas.ts';
import { segments } from './segments.ts';
import { standbys } from './standby.ts';
import { starts } from './start.ts';
import { telemetry } from './telemetry.ts';
import { watches } from './watch.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'string' }, rounds: { type: 'string', default: '5' } },
});
const benchmarks = {
  get: gets,
  identity: identities,
  append: appends,
  ingest: ingests,
  'tail-latency': latencies,
  doorbell: doorbells,
  'fan-out': fanOuts,
  history: histories,
  list: lists,
  progress,
  watch: watches,
  payload: payloads,
  queue,
  replicas,
  costs,
  standby: standbys,
  segments,
  start: starts,
  memory,
  telemetry,
  import: imports,
  growth,
  cluster: clusters,
};
const wanted = Object.entries(benchmarks).filter(
  ([name]) => positionals.length === 0 || positionals.some(text => name.includes(text)),
);
if (wanted.length === 0)
  throw new Error(`there is no such benchmark; there are: ${Object.keys(benchmarks).join(', ')}`);

const folder = mkdtempSync(join(tmpdir(), 'backup-management-bench-'));
const figures: Figure[] = [];
try {
  await using postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres') });
  for (const [name, benchmark] of wanted) {
    console.log(`\n${name}`);
    try {
      figures.push(...(await benchmark(postgres.url, Number(values.rounds))));
    } catch (error) {
      console.error(error); // before the database goes, and who is connected to it complains
      throw error;
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
print(figures);
if (values.json) writeFileSync(values.json, `${JSON.stringify(figures, null, 2)}\n`);
