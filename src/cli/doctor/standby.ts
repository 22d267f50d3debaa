import { type StandbyState, StandbyState_State as State } from '../../gen/backup/v1/replica_pb.ts';
import { durationText, millisOf } from '../terminal/times.ts';
import { type Check, ok, warning } from './check.ts';

/** Nothing where none is set. One that is not read from breaks nothing: the primary does its work. */
export function standby(found: StandbyState | undefined): Check[] {
  if (!found) return [];
  const ms = millisOf(found.lag!);
  const lag = ms < 1000 ? 'less than a second' : durationText(ms);
  if (found.state === State.READ) return [ok('standby', `lists and history are read there, ${lag} behind at most`)];
  const [text, hint] = reasons[found.state] ?? ['is not read from', 'see "standby" in the log of the service'];
  return [warning('standby', `${text}; all is read at the primary`, hint)];
}

const reasons: Partial<Record<State, [text: string, hint: string]>> = {
  [State.AWAY]: ['does not answer', 'does it run, and is DATABASE_READ_URL right?'],
  [State.BEHIND]: [
    'is further behind than READ_LAG allows',
    'see pg_stat_replication of the primary, and pg_is_wal_replay_paused() there',
  ],
  [State.PROMOTED]: [
    'is no standby',
    'DATABASE_READ_URL has to lead to one: of the primary, or of what has taken over',
  ],
  [State.FOREIGN]: [
    'follows another database, or the history before a failover',
    'after a failover it is read from with its next restart point; else DATABASE_READ_URL is wrong',
  ],
};
