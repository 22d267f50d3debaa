import { randomBytes, randomUUID } from 'node:crypto';
import { type ServiceError, status } from '@grpc/grpc-js';
import { Operation, Purpose, Status, Type } from '../../src/gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../../src/gen/backup/v1/entry_pb.ts';
import type { Replica } from './backend.ts';
import type { Database } from './database.ts';
import type { Truth } from './history.ts';

export function newBackupId(): string {
  return randomBytes(16).toString('hex');
}

/** Appends entries with these messages in one call. */
export function append(
  replica: Pick<Replica, 'logs'>,
  backupId: string,
  messages: string[],
  level: LogLevel = LogLevel.INFO,
) {
  return replica.logs.appendLogs({ backupId, entries: messages.map(message => ({ level, message })) });
}

/** A backup run that is not interactive. */
export async function newBackup(replica: Pick<Replica, 'controllers'>, backupId = newBackupId()): Promise<string> {
  await replica.controllers.createController({
    backupId,
    operation: Operation.BACKUP,
    type: Type.COURSE,
    itemId: 1n,
    purpose: Purpose.GENERAL,
  });
  return backupId;
}

/** Through which statuses a run comes that succeeds. */
export const WAY = [
  Status.CREATED,
  Status.PLANNED,
  Status.CONFIGURED,
  Status.AWAITING,
  Status.EXECUTING,
  Status.FINISHED_OK,
] as const;

/** Takes a run that was just created to its end. */
export async function finish(replica: Pick<Replica, 'controllers'>, backupId: string): Promise<void> {
  for (const [i, to] of WAY.slice(1).entries())
    await replica.controllers.transitionController({ backupId, from: WAY[i]!, to });
}

/** A writer that appends message after message and, with the same request id, again whatever it does not know to be kept. */
export async function writeAll(
  replicas: Pick<Replica, 'logs'>[],
  backupId: string,
  name: string,
  batches: number,
  size = 1,
): Promise<void> {
  for (let i = 0; i < batches; i++) {
    const entries = Array.from({ length: size }, (_, n) => ({
      level: LogLevel.INFO,
      message: `${name} ${i * size + n}`,
    }));
    const request = { backupId, entries, requestId: randomUUID() };
    for (let attempt = 0; ; attempt++) {
      try {
        await replicas[attempt % replicas.length]!.logs.appendLogs(request);
        break;
      } catch (error) {
        if ((error as ServiceError).code !== status.UNAVAILABLE || attempt > 1000) throw error;
        await new Promise(resolve => setTimeout(resolve, 20));
      }
    }
  }
}

/** What these logs hold. */
export function truthOf(database: Database, backupIds: string[]): Promise<Truth> {
  const sql = 'select backupid, id, loglevel, message from backup_logs where backupid = any($1) order by backupid, id';
  return database.query(sql, [backupIds]) as Promise<Truth>;
}

/** Entries with 200 bytes of text each, by SQL. */
export async function fill(database: Database, backupId: string, count: number): Promise<void> {
  await database.query(
    `with head as (insert into backup_log_heads (backupid, lastid) values ($1, $2))
     insert into backup_logs (backupid, id, loglevel, message, created_at)
     select $1, i, 40, rpad(i::text, 200, 'x'), 1 from generate_series(1, $2::bigint) i`,
    [backupId, count],
  );
}
