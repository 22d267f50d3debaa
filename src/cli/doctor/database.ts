import type { ClusterState, DatabaseState, SchemaState } from '../../gen/backup/v1/replica_pb.ts';
import { printable } from '../terminal/text.ts';
import { durationText, millisOf } from '../terminal/times.ts';
import { bad, type Check, ok, skipped, warning } from './check.ts';

export function database(state: DatabaseState): Check[] {
  const { reachable, embedded, version, readOnly, roundTrip, clockAhead, engine } = state;
  const name = 'database';
  if (!reachable) {
    return [
      bad(
        name,
        'does not answer the replica',
        'does PostgreSQL run, and is DATABASE_URL right? see the log of the service',
      ),
      skipped('db clock', 'was not looked at'),
    ];
  }
  const ms = millisOf(roundTrip!);
  const laidOut = engine === '' || engine === 'plain' ? '' : `, ${printable(engine)}`;
  const text = `PostgreSQL ${printable(version)}${laidOut}, answers within ${ms < 1 ? 'a millisecond' : durationText(ms)}`;
  const major = Number.parseInt(version, 10);
  return [
    readOnly
      ? bad(
          name,
          `${text}, and lets nothing be written`,
          'it is a standby, or read only: DATABASE_URL has to lead to the primary',
        )
      : major < OLDEST || major > NEWEST
        ? warning(name, text, `this service is tested with ${OLDEST} to ${NEWEST}`)
        : embedded
          ? warning(name, `${text}; the service started it itself`, 'that is for development: set DATABASE_URL')
          : ms > SLOW_MS
            ? warning(
                name,
                text,
                'every call waits for that: bring the two nearer, or see what the database is busy with',
              )
            : ok(name, text),
    ...(state.cluster ? [cluster(state.cluster)] : []),
    clock(millisOf(clockAhead!)),
  ];
}

function cluster({ version, nodes }: ClusterState): Check {
  const name = 'cluster';
  const text = `Citus ${printable(version)}, ${nodes.filter(node => node.takesShards).length} workers`;
  const faulty = nodes.filter(({ fault }) => fault !== '');
  if (faulty.length > 0)
    return bad(
      name,
      `${text}; ${faulty.map(({ address, fault }) => `${printable(address)}: ${printable(fault)}`).join('; ')}`,
      'what is on such a node can be neither read nor written: see its log, and pg_dist_node of the coordinator',
    );
  return ok(name, text);
}

function clock(aheadMs: number): Check {
  const far = durationText(Math.abs(aheadMs));
  const text = `the replica's clock is ${Math.abs(aheadMs) < 1 ? 'that of' : `${far} ${aheadMs > 0 ? 'ahead of' : 'behind'}`} the database`;
  if (Math.abs(aheadMs) < CLOCK_MS) return ok('db clock', text);
  return warning(
    'db clock',
    text,
    "all times are the database's, so nothing is wrong but the age of tokens; let NTP keep both",
  );
}

export function schema(state: SchemaState | undefined): Check[] {
  const name = 'schema';
  if (!state) return [skipped(name, 'was not looked at: the database does not answer')];
  const { applied, missing, unknown } = state;
  if (missing.length > 0) {
    return [
      bad(
        name,
        `lacks ${missing.join(', ')}`,
        'run npm run cli -- migrate as the role that owns the tables, or set MIGRATE=on',
      ),
    ];
  }
  if (unknown.length > 0) {
    return [
      warning(
        name,
        `has ${unknown.map(printable).join(', ')} of a later version`,
        'bring this replica up to date soon: one version back is what works side by side',
      ),
    ];
  }
  return [ok(name, `all ${applied.length} migrations are there`)];
}

const OLDEST = 15;
const NEWEST = 18;
const SLOW_MS = 50;
const CLOCK_MS = 1000;
