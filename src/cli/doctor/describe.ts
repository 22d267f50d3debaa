import type { Caller, DescribeReplicaResponse, ListenerState, RetentionState } from '../../gen/backup/v1/replica_pb.ts';
import { ScopeSchema } from '../../gen/backup/v1/scope_pb.ts';
import { version } from '../../version.ts';
import { nameOf } from '../names.ts';
import { printable } from '../terminal/text.ts';
import { durationText, millisOf, relative } from '../terminal/times.ts';
import { bad, type Check, ok, warning } from './check.ts';
import { database, schema } from './database.ts';
import { standby } from './standby.ts';

/** What a replica says of itself, judged; `nowMs` is this machine's clock when it said so. */
export function describe(replica: DescribeReplicaResponse, nowMs: number): Check[] {
  return [
    identity(replica.caller, millisOf(replica.clockTime!)),
    versions(replica),
    clock(millisOf(replica.clockTime!) - nowMs),
    ...database(replica.database!),
    ...schema(replica.schema),
    ...standby(replica.standby),
    listener(replica.listener!),
    retention(replica.retention!, millisOf(replica.clockTime!)),
  ];
}

function identity(caller: Caller | undefined, replicaMs: number): Check {
  const name = 'identity';
  if (!caller) return ok(name, 'nobody is asked who calls: everybody may do everything');
  const all = ScopeSchema.values
    .filter(({ number }) => number > 0)
    .map(({ number }) => nameOf(ScopeSchema, number).toLowerCase());
  const missing = all.filter(scope => !caller.scopes.includes(scope));
  const who = `${printable(caller.name)} may ${caller.scopes.join(', ')}`;
  const text = missing.length > 0 ? `${who}; not ${missing.join(', ')}` : who;
  if (!caller.expireTime) return ok(name, text);
  const leftMs = millisOf(caller.expireTime) - replicaMs;
  const until = `${text}; the token ends ${relative(leftMs)}`;
  return leftMs > SOON_MS
    ? ok(name, until)
    : warning(name, until, 'whoever renews the token has to do so before: see --token-file');
}

function versions({ version: theirs, host, startTime, clockTime }: DescribeReplicaResponse): Check {
  const up = durationText(millisOf(clockTime!) - millisOf(startTime!));
  const text = `${printable(theirs)} on ${printable(host)}, up for ${up}`;
  if (theirs === version()) return ok('version', text);
  return warning(
    'version',
    `${text}; this program is ${version()}`,
    'both work side by side for one release; then bring the older one up to date',
  );
}

/** Of replica and caller: it decides the age of tokens and certificates, and nothing else. */
function clock(aheadMs: number): Check {
  const text = `the replica's clock is ${apart(aheadMs)} this machine's`;
  return Math.abs(aheadMs) < CLOCK_MS
    ? ok('clock', text)
    : warning('clock', text, 'let NTP keep both: tokens and certificates are judged by them');
}

export function apart(aheadMs: number): string {
  if (Math.abs(aheadMs) < 1000) return 'within a second of';
  return `${durationText(Math.abs(aheadMs))} ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
}

function listener({ enabled, connected, connections }: ListenerState): Check {
  const name = 'listener';
  if (!enabled) {
    return warning(
      name,
      'off: what other replicas write is found by looking again',
      'NOTIFY=on, unless nothing can listen on this database',
    );
  }
  if (!connected) {
    return bad(
      name,
      'not connected: what other replicas write is heard late',
      'see the log of the service; past a pooler it is DATABASE_DIRECT_URL that has to be right',
    );
  }
  return ok(name, `connected${connections > 1n ? `, ${connections} times so far` : ''}`);
}

function retention({ unchanged, logs, dryRun, interval, lastRoundTime }: RetentionState, replicaMs: number): Check {
  const name = 'retention';
  if (!interval || !lastRoundTime) {
    return warning(
      name,
      'off: controllers and logs are kept for ever',
      'RETENTION and LOG_RETENTION, or backupctl purge now and then',
    );
  }
  const rules = [
    unchanged && `runs after ${durationText(millisOf(unchanged))}`,
    logs && `entries after ${durationText(millisOf(logs))}`,
  ];
  const sinceMs = replicaMs - millisOf(lastRoundTime);
  const text = `${rules.filter(Boolean).join(', ') || 'settings of runs that wait'}; came through ${relative(-sinceMs)}`;
  if (sinceMs > 3 * millisOf(interval) + FIRST_ROUND_MS)
    return bad(name, text, 'it fails: see "retention" in the log of the service');
  if (dryRun) return warning(name, `${text}; deletes nothing`, 'RETENTION_DRY_RUN=off when its log says what you want');
  return ok(name, text);
}

const SOON_MS = 300_000;
const CLOCK_MS = 5000;
/** The first round waits so that replicas do not all begin at once. */
const FIRST_ROUND_MS = 120_000;
