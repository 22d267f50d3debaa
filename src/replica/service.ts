import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Duration } from '@bufbuild/protobuf/wkt';
import type { Pool } from 'pg';
import type { Doorbell } from '../db/doorbell.ts';
import type { Standby } from '../db/standby/standby.ts';
import { isOutage } from '../errors.ts';
import {
  type DescribeReplicaResponseSchema,
  type ReplicaService,
  StandbyState_State,
} from '../gen/backup/v1/replica_pb.ts';
import { ScopeSchema } from '../gen/backup/v1/scope_pb.ts';
import type { Handlers } from '../grpc/bind.ts';
import type { Identity } from '../grpc/guard.ts';
import { fromMillis, fromNanos } from '../timestamps.ts';
import { version } from '../version.ts';
import { type Database, readDatabase } from './database.ts';

type Needs = {
  pool: Pool;
  doorbell: Doorbell;
  standby: Pick<Standby, 'state' | 'lagMs'> | undefined;
  embedded: boolean;
  ages: Ages;
  /** What takes the database longer is no answer any more. */
  patienceMs: number;
  rounds: () => { readonly intervalMs: number | undefined; readonly lastRound: number };
  limits: Limits;
};

/** In seconds. */
type Ages = { unchanged: number | undefined; settingUi: number | undefined; logs: number | undefined; dryRun: boolean };

type Limits = Record<
  'messageBytes' | 'logMessageBytes' | 'payloadBytes' | 'calls' | 'streams' | 'connections',
  number
> & { callTimeoutMs: number; leaseDurationMs: number };

export function replicaService(needs: Needs): Handlers<typeof ReplicaService> {
  const { pool, doorbell, standby, patienceMs, embedded, ages, rounds, limits } = needs;
  const itself = {
    version: version(),
    replicaId: randomBytes(16).toString('hex'),
    host: hostname(),
    startTime: fromMillis(BigInt(Date.now())),
  };
  return {
    async describeReplica(_, { identity }) {
      const database = await Promise.race([
        readDatabase(pool).catch(unlessAway),
        delay(patienceMs, undefined, { ref: false }),
      ]);
      return {
        ...itself,
        clockTime: fromMillis(BigInt(Date.now())),
        ...(identity && { caller: callerOf(identity) }),
        database: { embedded, ...(database && stateOf(database)) },
        ...(database && { schema: database.schema }),
        listener: {
          enabled: doorbell.connected !== undefined,
          connected: doorbell.connected ?? false,
          connections: BigInt(doorbell.connections),
        },
        retention: retentionOf(ages, rounds()),
        limits: limitsOf(limits),
        ...(standby && {
          standby: {
            state: StandbyState_State[standby.state],
            lag: fromMicros(BigInt(Math.round(standby.lagMs * 1000))),
          },
        }),
      };
    },
  };
}

/** One that is away is described, too; whatever else fails is a fault of ours. */
function unlessAway(error: unknown): undefined {
  if (!isOutage(error)) throw error;
}

type Description = MessageInitShape<typeof DescribeReplicaResponseSchema>;

function callerOf({ caller, scopes = new Set(), until }: Identity): Description['caller'] {
  const known = ScopeSchema.values.map(({ localName }) => localName.toLowerCase());
  return {
    name: caller,
    scopes: known.filter(name => scopes.has(name)),
    ...(until !== undefined && { expireTime: fromMillis(BigInt(until)) }),
  };
}

function stateOf({ version, readOnly, clock, roundTrip, ahead, engine, cluster }: Database) {
  return {
    reachable: true,
    version,
    readOnly,
    roundTrip: fromMicros(roundTrip),
    clockTime: fromNanos(clock * 1000n),
    clockAhead: fromMicros(ahead),
    engine,
    ...(cluster && { cluster }),
  };
}

function retentionOf(ages: Ages, { intervalMs, lastRound }: ReturnType<Needs['rounds']>): Description['retention'] {
  return {
    ...(ages.unchanged !== undefined && { unchanged: seconds(ages.unchanged) }),
    ...(ages.settingUi !== undefined && { settingUi: seconds(ages.settingUi) }),
    ...(ages.logs !== undefined && { logs: seconds(ages.logs) }),
    dryRun: ages.dryRun,
    ...(intervalMs !== undefined && {
      interval: fromMicros(BigInt(intervalMs) * 1000n),
      lastRoundTime: fromMillis(BigInt(lastRound)),
    }),
  };
}

function limitsOf({ callTimeoutMs, leaseDurationMs, ...counts }: Limits): Description['limits'] {
  const { messageBytes, logMessageBytes, payloadBytes, calls, streams, connections } = counts;
  return {
    messageBytes: BigInt(messageBytes),
    logMessageBytes: BigInt(logMessageBytes),
    payloadBytes: BigInt(payloadBytes),
    calls: BigInt(calls),
    streams: BigInt(streams),
    connections: BigInt(connections),
    callTimeout: fromMicros(BigInt(callTimeoutMs) * 1000n),
    leaseDuration: fromMicros(BigInt(leaseDurationMs) * 1000n),
  };
}

function seconds(count: number): Pick<Duration, 'seconds'> {
  return { seconds: BigInt(count) };
}

/** Both parts have the sign of the whole, as they have to. */
function fromMicros(micros: bigint): Pick<Duration, 'seconds' | 'nanos'> {
  return { seconds: micros / 1_000_000n, nanos: Number(micros % 1_000_000n) * 1000 };
}
