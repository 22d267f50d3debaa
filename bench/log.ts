import { createHash } from 'node:crypto';
import { LogLevel } from '../src/gen/backup/v1/entry_pb.ts';
import { LogService } from '../src/gen/backup/v1/log_pb.ts';
import { createClient } from '../src/grpc/client.ts';
import { LINE } from './raw-append.ts';
import { connect } from './service.ts';
import { type Following, follow } from './subscribe.ts';

/** Logs that can be appended to: those of the service, or of a peer. */
export type Appender = {
  readonly name: string;
  /** Appends so many entries, under a lease to its log; the id of the last one, when they are durable as far as this log promises it. */
  append(log: string, entries: number, lease?: { backupId: string; leaseToken: string }): Promise<number>;
};

/** Logs that can be followed, too. */
export type Log = Appender &
  Disposable & {
    /** Follows a log from its beginning up to an entry, by subscribers in a process of their own. */
    follow(log: string, subscribers: number, lastId: number): Promise<Following>;
  };

/** The service, or another one that speaks its protocol. `loose`: ids may be left out, as by who takes them from a sequence. */
export function grpcLog(name: string, address: string, { from = address, loose = false } = {}): Log {
  const channel = connect(address);
  const logs = createClient(LogService, channel);
  const entry = { level: LogLevel.INFO, message: LINE };
  const backupIdOf = (log: string) => createHash('md5').update(log).digest('hex');
  return {
    name,
    async append(log, entries, lease) {
      const request = { backupId: backupIdOf(log), entries: Array(entries).fill(entry), ...lease };
      const { firstId, lastId } = await logs.appendLogs(request);
      if (!loose && lastId - firstId !== BigInt(entries - 1)) throw new Error('an append was not kept');
      return Number(lastId);
    },
    async follow(log, subscribers, lastId) {
      return follow('tails.ts', { address: from, backupId: backupIdOf(log), subscribers, lastId, loose });
    },
    [Symbol.dispose]: () => channel.close(),
  };
}
