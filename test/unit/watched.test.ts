import assert from 'node:assert/strict';
import type { Entry } from '../../src/log/entry.ts';
import type { Head } from '../../src/log/head.ts';
import { ALL_LEVELS } from '../../src/log/page.ts';
import type { Logs } from '../../src/segment/archive.ts';
import { WatchedLog } from '../../src/tail/watched.ts';

const limits = { entries: 1000, bytes: 100_000 };

function entries(...ids: number[]): Entry[] {
  return ids.map(id => ({ id: BigInt(id), level: 40, message: `line ${id}`, seconds: 1n, nanos: 0, attempt: 0 }));
}

function headOf(lastId: bigint): Head {
  return { firstId: 1n, lastId, sealedId: undefined, movedId: 0n, lastMicros: 1n, exists: true, run: undefined };
}

describe('A log that is watched', () => {
  it('gives what it keeps only as far as it follows: an entry between that was too long to keep is not passed over', async () => {
    const log = new WatchedLog('0'.repeat(32), headOf(0n));
    log.known = { id: 0n, fingerprint: '' };
    log.add(entries(1, 2, 3), limits);
    // The fourth one is longer than a look reads; the next look finds the log known behind it again.
    log.look(log.known, { head: headOf(4n), proof: log.known, entries: [] }, limits);
    log.look(undefined, { head: headOf(4n), proof: { id: 4n, fingerprint: 'x' }, entries: [] }, limits);
    log.add(entries(5, 6), limits);
    const page = await log.page({} as Logs, { id: 0n, fingerprint: '' }, { upTo: 6n, maxLevel: ALL_LEVELS }, limits);
    assert.ok(typeof page === 'object');
    assert.deepEqual([page.entries, page.end.id], [3, 3n]);
  });
});
