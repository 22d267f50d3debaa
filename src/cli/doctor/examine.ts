import { serviceClient } from '../../client/calls.ts';
import { RpcError } from '../../client/error.ts';
import { type DescribeReplicaResponse, ReplicaService } from '../../gen/backup/v1/replica_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../../gen/health/v1/health_pb.ts';
import { channelTo } from '../connection.ts';
import { refused } from '../refused.ts';
import type { Session } from '../session.ts';
import { durationText } from '../terminal/times.ts';
import { bad, type Check, ok, skipped } from './check.ts';
import { describe } from './describe.ts';
import { reach } from './reach.ts';

/** An address, what was found there, and what the replica said of itself if it did. */
export type Replica = { address: string; checks: Check[]; description?: DescribeReplicaResponse };

export async function examine(session: Session, address: string): Promise<Replica> {
  const { settings, signal } = session;
  const checks = await reach(settings, address);
  if (checks.some(({ state }) => state === 'bad')) {
    return { address, checks: [...checks, skipped('the rest', 'was not looked at: nothing comes through')] };
  }
  using channel = Object.assign(channelTo(settings, address), { [Symbol.dispose]: () => channel.close() });
  const defaults = { timeoutMs: settings.timeout };
  const call = { signal, retry: false };
  const sent = Date.now();
  try {
    const description = await serviceClient(ReplicaService, channel, defaults).describeReplica({}, call);
    const answered = Date.now();
    checks.push(ok('call', `answered after ${durationText(answered - sent)}`));
    checks.push(await health(() => serviceClient(Health, channel, defaults).check({}, call)));
    checks.push(...describe(description, (sent + answered) / 2));
    return { address, checks, description };
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    const { message, hint } = refused(error, { ...settings, address: [address] });
    checks.push(bad('call', message, hint ?? 'see the log of the service'));
    checks.push(skipped('the rest', 'was not looked at: the replica has not described itself'));
    return { address, checks };
  }
}

async function health(check: () => Promise<{ status: Serving }>): Promise<Check> {
  try {
    const { status } = await check();
    if (status === Serving.SERVING) return ok('health', 'SERVING');
    return bad(
      'health',
      'NOT SERVING',
      'it says so while its database does not answer: see database, and the log of the service',
    );
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    return bad('health', error.message, 'load balancers will take this replica out');
  }
}
