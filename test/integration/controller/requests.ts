import { randomBytes, randomInt } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type CreateControllerRequestSchema,
  Operation,
  Purpose,
  type Status,
  Type,
} from '../../../src/gen/backup/v1/controller_pb.ts';
import type { Database } from '../../support/database.ts';

type Wanted = MessageInitShape<typeof CreateControllerRequestSchema>;

/** A backup that says no more than it must. */
export function backup(more: Wanted = {}): Wanted {
  return { operation: Operation.BACKUP, type: Type.COURSE, purpose: Purpose.GENERAL, ...more };
}

/** A restore that says no more than it must. */
export function restore(more: Wanted = {}): Wanted {
  return { operation: Operation.RESTORE, purpose: Purpose.GENERAL, ...more };
}

export function newId(): string {
  return randomBytes(16).toString('hex');
}

/** A number of a user, an item or a course that no other test uses. */
export function newNumber(): bigint {
  return BigInt(randomInt(1, 2 ** 47));
}

/** The row as the specification names its columns, numbers as text. */
export async function rowOf(database: Database, backupId: string): Promise<Record<string, unknown>> {
  const [row] = await database.query('select * from backup_controllers where backupid = $1', [backupId]);
  return row!;
}

/** Puts a controller into a status whatever its life cycle says. */
export async function put(database: Database, backupId: string, status: Status): Promise<void> {
  await database.query('update backup_controllers set status = $2 where backupid = $1', [backupId, status]);
}
