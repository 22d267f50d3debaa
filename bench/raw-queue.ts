import { randomUUID } from 'node:crypto';
import type { Pool } from 'pg';

/** What the service does for a claim and a finish, as plain SQL by hand: the same table, the same columns, the same seal. */
export function rawWorker(pool: Pool, batch: number): () => Promise<number> {
  return async () => {
    const token = randomUUID();
    const { rows } = await pool.query({ name: 'raw-claim', text: CLAIM, values: [batch, token] });
    if (rows.length === 0) return 0;
    const ids = rows.map(row => row.backupid);
    const { rowCount } = await pool.query({ name: 'raw-finish', text: FINISH, values: [ids, token] });
    return rowCount ?? 0;
  };
}

const CLAIM = `
  with due as (
    select backupid from backup_controllers
    where status = 700 and execution = 2 and greatest(executiontime, created_at) <= extract(epoch from now())
    order by greatest(executiontime, created_at), id limit $1 for update skip locked
  )
  update backup_controllers c set status = 800, attempt = attempt + 1, progress = 0, leasetoken = $2, leaseworker = 'raw',
    leasems = 30000, leasedat = floor(extract(epoch from now()) * 1000)::bigint,
    leaseexpires = floor(extract(epoch from now()) * 1000)::bigint + 30000,
    startedat = floor(extract(epoch from now()))::bigint, updated_at = floor(extract(epoch from now()))::bigint, revision = revision + 1
  from due where c.backupid = due.backupid
  returning c.backupid, c.id, c.operation, c.type, c.itemid, c.format, c.interactive, c.purpose, c.userid, c.status, c.execution,
    c.executiontime, c.checksum, c.progress, c.created_at, c.updated_at, c.attempt, c.leasetoken`;

const FINISH = `
  with finished as (
    update backup_controllers set status = 1000, progress = 1, controller = '', outcome = 1, leasetoken = null,
      endedat = floor(extract(epoch from now()))::bigint, updated_at = floor(extract(epoch from now()))::bigint, revision = revision + 1
    where backupid = any($1) and leasetoken = $2 returning backupid
  )
  insert into backup_log_heads as h (backupid, lastid, sealedid) select backupid, 0, 0 from finished
  on conflict (backupid) do update set sealedid = h.lastid returning backupid`;
