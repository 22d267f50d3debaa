import { readdirSync, readFileSync } from 'node:fs';
import { Cluster } from '../test/support/citus.ts';
import { statOf } from './costs.ts';
import { alternate, compare, compareCost, type Figure, quantile } from './figure.ts';
import { claim, concurrently, controllersOf } from './lease.ts';
import { grpcLog } from './log.ts';
import { connect, createDatabase, startService } from './service.ts';

const CALLS = { alone: 200, together: 1000 };
const CALLERS = 32;

/**
 * Appends on a cluster, beside those on one database of its coordinator: how long one takes when there are no others, how many of 32 callers go in a
 * second, and the processor time of PostgreSQL on all nodes, which are on this machine. Needs a cluster that nobody else uses.
 */
export async function clusters(_: string, rounds: number): Promise<Figure[]> {
  const server = process.env['TEST_CITUS_URL'];
  if (!server) {
    console.log('  LEFT OUT: TEST_CITUS_URL names no cluster');
    return [];
  }
  const cluster = new Cluster(server);
  const name = 'bench_cluster';
  await cluster.administer(`drop database if exists ${name} with (force)`);
  await cluster.create(name);
  const urls = {
    plain: await createDatabase(server, 'bench_one'),
    citus: Object.assign(new URL(server), { pathname: `/${name}` }).href,
  };
  await using plain = await startService(urls.plain, { ENGINE: 'plain' });
  await using citus = await startService(urls.citus, { ENGINE: 'citus' });
  const contestants = [
    ...(await kinds('plain', urls.plain, plain.address)),
    ...(await kinds('citus', urls.citus, citus.address)),
  ];
  const measured = await alternate(contestants, rounds, 'ms, 1/s, ms');
  const of = (what: string) => [measured.get(`citus ${what}`)!, measured.get(`plain ${what}`)!] as const;
  return NAMES.flatMap(name => [
    ...(/alone/.test(name)
      ? [compareCost(`${name}, citus : plain`, ...of(`${name} median`), null, 'ms')]
      : [compare(`${name}, citus : plain`, ...of(`${name} rate`), null)]),
    compareCost(`${name}, PostgreSQL`, ...of(`${name} processor`), null, 'ms'),
  ]);
}

const NAMES = [
  '1 entry alone',
  '100 entries alone',
  '1 entry under a lease alone',
  '32 together',
  '32 together to a log',
];

async function kinds(engine: string, url: string, address: string) {
  const channel = connect(address);
  const [{ backupId, leaseToken }] = (await claim(url, controllersOf(channel), 1)) as [
    Awaited<ReturnType<typeof claim>>[0],
  ];
  const log = grpcLog(engine, address);
  const acts: ((caller: number) => Promise<unknown>)[] = [
    () => log.append('alone', 1),
    () => log.append('alone', 100),
    () => log.append('alone', 1, { backupId, leaseToken }),
    caller => log.append(`own ${caller}`, 1),
    () => log.append('shared', 1),
  ];
  return acts.map((act, i) => {
    const alone = /alone/.test(NAMES[i]!);
    const [callers, calls] = alone ? [1, CALLS.alone] : [CALLERS, CALLS.together];
    const run = async () => {
      await concurrently(callers, callers * 4, act);
      const took: number[] = [];
      const [began, processor] = [performance.now(), processorMs(new URL(url).pathname.slice(1))];
      await concurrently(callers, calls, async caller => {
        const start = performance.now();
        await act(caller);
        took.push(performance.now() - start);
      });
      const seconds = (performance.now() - began) / 1000;
      took.sort((a, b) => a - b);
      return {
        median: quantile(took, 0.5),
        rate: calls / seconds,
        processor: (processorMs(new URL(url).pathname.slice(1)) - processor) / calls,
      };
    };
    return { name: `${engine} ${NAMES[i]}`, run };
  });
}

/** Of whatever serves a database on this machine, in ms: PostgreSQL writes its name beside that of the process. */
function processorMs(database: string): number {
  let ticks = 0;
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name)))
    try {
      if (!new RegExp(`^postgres: \\S+ ${database} `).test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))) continue;
      const [user, system] = statOf(pid).slice(11, 13);
      ticks += Number(user ?? 0) + Number(system ?? 0);
    } catch {
      // It has just gone.
    }
  return ticks * 10;
}
