import type { Pool } from 'pg';
import { epochNow } from '../db/clock.ts';
import { sqlOn, transaction } from '../db/sql.ts';

/**
 * Deletes the chunks of payloads that were replaced or emptied and of uploads that were left behind, once the last of them is an hour old, and
 * returns how many they were: an upload under way adds chunks, and outlives any number of rounds. In batches, each a transaction of its own, and past
 * whatever another replica is deleting.
 */
export async function dropStaleChunks(pool: Pool, signal: AbortSignal): Promise<number> {
  let dropped = 0;
  for (const { backupid, uploadid } of await sqlOn(pool)<Stale>({ text: STALE, values: [HOUR, UPLOADS] })) {
    for (let deleted = BATCH; deleted === BATCH && !signal.aborted; dropped += deleted) {
      deleted = await transaction(pool, async sql => {
        // Whoever makes this upload the payload has locked the row: now he has committed, or will find the chunks gone.
        await sql({ text: 'select from backup_controllers where backupid = $1 for key share', values: [backupid] });
        return (await sql({ text: DROP, values: [backupid, uploadid] })).length;
      });
    }
  }
  return dropped;
}

type Stale = { backupid: string; uploadid: string };

/** Seconds. */
const HOUR = 3600;

/** Uploads in a round, and chunks in a batch. */
const UPLOADS = 100;
const BATCH = 100;

// From upload to upload by the primary key: one probe for each, however many chunks it has.
const STALE = `with recursive upload as (
    (select backupid, uploadid from backup_payload_chunks order by backupid, uploadid limit 1)
    union all
    select next.* from upload u cross join lateral (
      select backupid, uploadid from backup_payload_chunks c
      where (c.backupid, c.uploadid) > (u.backupid, u.uploadid) order by backupid, uploadid limit 1) next)
  select backupid, uploadid from upload u
  where not exists (select from backup_payloads p where p.backupid = u.backupid and p.uploadid = u.uploadid)
    and (select c.created_at from backup_payload_chunks c where c.backupid = u.backupid and c.uploadid = u.uploadid
         order by c.n desc limit 1) < ${epochNow} - $1::bigint
  limit $2`;

// By the key, too: a place in the table (`ctid`) is one in each of its partitions.
const DROP = `delete from backup_payload_chunks where backupid = $1 and uploadid = $2 and ctid = any (array(
    select ctid from backup_payload_chunks c where backupid = $1 and uploadid = $2
      and not exists (select from backup_payloads p where p.backupid = c.backupid and p.uploadid = c.uploadid)
    limit ${BATCH} for update of c skip locked))
  returning 1`;
