import type { EntityManager } from '@mikro-orm/postgresql';
import type { Pool } from 'pg';

/** Where a log and its run stand. */
export type Head = {
  /** 1 when nothing was appended or removed yet. */
  firstId: bigint;
  /** 0 when nothing was appended yet. */
  lastId: bigint;
  /** `lastId` when the run finished. */
  sealedId: bigint | undefined;
  /** Whether there is a log or a controller at all. */
  exists: boolean;
  /** Status and progress of the controller, when there is one. */
  run: { status: number; progress: string } | undefined;
};

/** The heads of these logs by backup id, all from one snapshot: every entry up to `lastId` is visible to whoever reads after this. */
export async function readHeads(pool: Pool, backupIds: readonly string[]): Promise<Map<string, Head>> {
  const { rows } = await pool.query({
    name: 'heads',
    text: `
      select wanted.backupid, h.firstid, h.lastid, h.sealedid, c.status, c.progress
      from unnest($1::varchar[]) as wanted (backupid)
      left join backup_log_heads h on h.backupid = wanted.backupid
      left join backup_controllers c on c.backupid = wanted.backupid`,
    values: [backupIds],
  });
  return new Map(
    rows.map(row => [
      row.backupid,
      {
        firstId: BigInt(row.firstid ?? 1),
        lastId: BigInt(row.lastid ?? 0),
        sealedId: row.sealedid === null ? undefined : BigInt(row.sealedid),
        exists: row.lastid !== null || row.status !== null,
        run: row.status === null ? undefined : { status: row.status, progress: row.progress },
      },
    ]),
  );
}

/** Seals a log: writes down which entry was the last one when its run finished. Part of the transaction that finishes the run. */
export async function sealLog(em: EntityManager, backupId: string): Promise<void> {
  await em.execute(
    `insert into backup_log_heads as h (backupid, lastid, sealedid) values (?, 0, 0)
     on conflict (backupid) do update set sealedid = h.lastid`,
    [backupId],
  );
}

/** Deletes a log and returns how many entries it had. Part of the transaction that deletes the run. */
export async function deleteLog(em: EntityManager, backupId: string): Promise<bigint> {
  // The head first: it locks out appends, which would otherwise leave entries without a head behind.
  await em.execute('delete from backup_log_heads where backupid = ?', [backupId]);
  await em.execute('delete from backup_log_requests where backupid = ?', [backupId]);
  const { affectedRows } = await em.execute<{ affectedRows: number }>(
    'delete from backup_logs where backupid = ?',
    [backupId],
    'run',
  );
  return BigInt(affectedRows);
}
