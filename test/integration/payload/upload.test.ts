import { strict as assert } from 'node:assert';
import { randomBytes, randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { type Backend, clients, connect, startBackend } from '../../support/backend.ts';
import { Cable } from '../../support/cable.ts';
import { eventually } from '../../support/eventually.ts';
import { endsWith, refused, winners } from '../../support/status.ts';
import { newBackup, newBackupId } from '../../support/writing.ts';
import { chunk, downloaded, finish, lease, md5, type Part, parts, start, stored } from './chunks.ts';

const PIECE = 24_576;
const allBytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

describe('UploadPayload', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ settings: { PAYLOAD_MAX_BYTES: '2097152', WRITE_TIMEOUT: '5s' } });
  });
  after(() => backend[Symbol.asyncDispose]());

  const upload = (all: AsyncIterable<Part> | Iterable<Part>, options = {}) =>
    backend.controllers.uploadPayload(all, options);

  /** A controller that has a payload, and a check that it is whole and that nothing else is left. */
  async function withPayload() {
    const backupId = await newBackup(backend);
    const old = randomBytes(PIECE + 5);
    await upload(parts({ backupId }, old));
    const before = await stored(backend.database, backupId);
    return {
      backupId,
      old,
      unchanged: () =>
        eventually(async () => {
          assert.deepEqual(await stored(backend.database, backupId), before);
          assert.equal(before.others, 0);
          assert.deepEqual(await downloaded(backend, backupId), old);
        }),
    };
  }

  /** Parts, and then nothing until it is told to go on. */
  function pausing(first: Part[]) {
    const { promise, resolve } = Promise.withResolvers<void>();
    return {
      goOn: resolve,
      async *[Symbol.asyncIterator]() {
        yield* first;
        await promise;
      },
    };
  }

  const chunksOf = async (backupId: string) =>
    (await backend.database.query('select n from backup_payload_chunks where backupid = $1', [backupId])).length;

  it('keeps and gives back any number of bytes, as base64 for readers of the column', async () => {
    for (const size of [0, 1, 2, 3, 256, PIECE - 1, PIECE, PIECE + 1, 32 * PIECE, 32 * PIECE + 1, 1024 * 1024 + 1]) {
      const backupId = await newBackup(backend);
      const bytes = Buffer.concat([allBytes, randomBytes(size)]).subarray(0, size);
      const { controller, size: told } = await upload(parts({ backupId }, bytes));
      assert.equal(told, BigInt(size));
      assert.equal(controller!.checksum, md5(bytes));
      const row = await stored(backend.database, backupId);
      assert.equal(row.controller, bytes.toString('base64'));
      const pieces = Math.ceil(size / PIECE);
      assert.deepEqual(
        [row.checksum, row.size, row.md5, row.chunks, row.others],
        [md5(bytes), String(size), md5(bytes), pieces, 0],
      );
      assert.deepEqual(await downloaded(backend, backupId), bytes);
    }
  });

  it('does not care how the bytes are cut', async () => {
    const backupId = await newBackup(backend);
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        fc.constantFrom(1, 700, 2500),
        fc.array(fc.integer({ min: 1, max: 250_000 }), { minLength: 1, maxLength: 5 }),
        async (pattern, times, cuts) => {
          const bytes = Buffer.alloc(Math.min(pattern.length * times, 600_000), pattern);
          const chunks: Part[] = [];
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const next = at + Math.max(cuts[i % cuts.length]!, Math.ceil(bytes.length / 50));
            chunks.push(chunk(bytes.subarray(at, next)));
            at = next;
          }
          const { controller } = await upload([start({ backupId }), ...chunks, finish({ checksum: md5(bytes) })]);
          assert.equal(controller!.checksum, md5(bytes));
          assert.equal((await stored(backend.database, backupId)).controller, bytes.toString('base64'));
        },
      ),
      { numRuns: 15 },
    );
  });

  it('replaces what was there, whole, and moves etag and update_time', async () => {
    const { backupId } = await withPayload();
    await backend.database.query('update backup_controllers set updated_at = 1 where backupid = $1', [backupId]);
    const { controller: before } = await backend.controllers.getController({ backupId });
    const { controller } = await upload(parts({ backupId, etag: before!.etag }, Buffer.from('new')));
    assert.notEqual(controller!.etag, before!.etag);
    assert.ok(controller!.updateTime!.seconds > 1n);
    assert.deepEqual((await backend.controllers.getController({ backupId })).controller, controller);
    assert.deepEqual(await downloaded(backend, backupId), Buffer.from('new'));
    await upload(parts({ backupId }, Buffer.alloc(0)));
    assert.equal((await stored(backend.database, backupId)).controller, '');
    assert.equal((await downloaded(backend, backupId)).length, 0);
  });

  it('refuses another order of the parts', async () => {
    const { backupId, unchanged } = await withPayload();
    const [begin, some, end] = [start({ backupId }), chunk(allBytes), finish({ checksum: md5(allBytes) })];
    const wrong = [
      [],
      [some, end],
      [end],
      [begin],
      [begin, some],
      [begin, begin, some, end],
      [begin, some, begin, end],
    ];
    for (const all of [...wrong, [begin, some, end, some], [begin, some, end, end], [begin, some, end, begin]]) {
      await refused(upload(all), { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', field: 'part' });
    }
    await refused(upload([{}]), { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
    await unchanged();
  });

  it('refuses bytes that do not have the checksum, and says both', async () => {
    const { backupId, unchanged } = await withPayload();
    const wrong = [start({ backupId }), chunk(allBytes), finish({ checksum: md5(Buffer.alloc(1)) })];
    const { info } = await refused(upload(wrong), { code: 'DATA_LOSS', reason: 'CHECKSUM_MISMATCH' });
    assert.deepEqual({ ...info!.metadata }, { expected: md5(Buffer.alloc(1)), found: md5(allBytes) });
    await unchanged();
  });

  it('refuses more bytes than the setting allows while they are still coming, and takes exactly as many', async () => {
    const { backupId, unchanged } = await withPayload();
    const mebibyte = randomBytes(1024 * 1024);
    const tooLarge = { code: 'FAILED_PRECONDITION', reason: 'PAYLOAD_TOO_LARGE' } as const;
    await refused(upload(pausing([start({ backupId }), ...Array(2).fill(chunk(mebibyte)), chunk(allBytes)])), tooLarge);
    // The peer hears it also when it never stops sending.
    const endless = function* () {
      yield start({ backupId });
      for (;;) yield chunk(mebibyte);
    };
    await refused(upload(endless()), tooLarge);
    await unchanged();
    await upload(parts({ backupId }, Buffer.concat([mebibyte, mebibyte])));
  });

  it('refuses after the start alone what its controller does not take', async () => {
    const backupId = await newBackup(backend);
    const early = (of: Parameters<typeof start>[0]) => upload(pausing([start(of)]));
    await refused(early({ backupId: newBackupId() }), { code: 'NOT_FOUND', reason: 'CONTROLLER_NOT_FOUND' });
    await refused(early({ backupId, etag: 'old' }), { code: 'ABORTED', reason: 'ETAG_MISMATCH' });
    const lost = { code: 'FAILED_PRECONDITION', reason: 'LEASE_LOST' } as const;
    await refused(early({ backupId, leaseToken: randomUUID() }), lost);
    await refused(early({ backupId: newBackupId(), leaseToken: randomUUID() }), lost);
    const leaseToken = randomUUID();
    await lease(backend.database, backupId, leaseToken);
    const leased = await refused(early({ backupId }), { code: 'FAILED_PRECONDITION', reason: 'CONTROLLER_LEASED' });
    assert.equal(leased.info!.metadata['worker'], 'somebody');
    await refused(early({ backupId, leaseToken: randomUUID() }), lost);
    await upload(parts({ backupId, leaseToken: leaseToken.toUpperCase() }, allBytes));
    for (const status of [900, 1000]) {
      await backend.database.query('update backup_controllers set status = $2, leasetoken = null where backupid = $1', [
        backupId,
        status,
      ]);
      await refused(early({ backupId }), { code: 'FAILED_PRECONDITION', reason: 'CONTROLLER_FINISHED' });
      await refused(early({ backupId, leaseToken }), lost);
    }
  });

  it('refuses at the end what its controller does not take any more', async () => {
    const { backupId, unchanged } = await withPayload();
    const { controller } = await backend.controllers.getController({ backupId });
    const big = randomBytes(40 * PIECE);
    const cases = [
      ['status = 900', 'status = 100', { backupId }, 'FAILED_PRECONDITION', 'CONTROLLER_FINISHED'],
      [
        // Far from its end: the sweeper would take one that has expired away before the upload ends.
        `status = 800, leasetoken = '${randomUUID()}', leaseexpires = 4102444800000`,
        'status = 100, leasetoken = null',
        { backupId },
        'FAILED_PRECONDITION',
        'CONTROLLER_LEASED',
      ],
      [
        'revision = revision + 1',
        'revision = revision - 1',
        { backupId, etag: controller!.etag },
        'ABORTED',
        'ETAG_MISMATCH',
      ],
    ] as const;
    for (const [change, undo, begin, code, reason] of cases) {
      const during = async function* () {
        const [first, second, ...rest] = parts(begin, big, 900_000);
        yield first!;
        yield second!;
        await eventually(async () => assert.ok((await chunksOf(backupId)) > 2));
        await backend.database.query(`update backup_controllers set ${change} where backupid = $1`, [backupId]);
        yield* rest;
      };
      await refused(upload(during()), { code, reason });
      await backend.database.query(`update backup_controllers set ${undo} where backupid = $1`, [backupId]);
    }
    const lost = async function* () {
      const [first, ...rest] = parts({ backupId, leaseToken }, big);
      yield first!;
      await eventually(async () => assert.equal(backend.app.admission.streams, 1));
      await backend.database.query('update backup_controllers set leasetoken = $2 where backupid = $1', [
        backupId,
        randomUUID(),
      ]);
      yield* rest;
    };
    const leaseToken = randomUUID();
    await lease(backend.database, backupId, leaseToken);
    await refused(upload(lost()), { code: 'FAILED_PRECONDITION', reason: 'LEASE_LOST' });
    await backend.database.query(
      "update backup_controllers set status = 100, leasetoken = null, leaseworker = '' where backupid = $1",
      [backupId],
    );
    await unchanged();
  });

  it('keeps nothing of which a part was deleted meanwhile', async () => {
    const { backupId, unchanged } = await withPayload();
    const during = async function* () {
      const [first, second, ...rest] = parts({ backupId }, randomBytes(40 * PIECE), 900_000);
      yield first!;
      yield second!;
      await eventually(async () => assert.ok((await chunksOf(backupId)) > 2));
      await backend.database.query('delete from backup_payload_chunks where backupid = $1 and n = 3', [backupId]);
      yield* rest;
    };
    await refused(upload(during()), { code: 'ABORTED', reason: 'CONFLICT' });
    await unchanged();
  });

  it('changes nothing when it is cancelled, breaks, fails at the client or is past its deadline', async () => {
    const { backupId, unchanged } = await withPayload();
    const many = [start({ backupId }), chunk(randomBytes(40 * PIECE))];
    const begun = () => eventually(async () => assert.ok((await chunksOf(backupId)) > 2));
    const abort = new AbortController();
    const cancelled = upload(pausing(many), { signal: abort.signal });
    await begun();
    abort.abort();
    await endsWith(cancelled, 'CANCELLED');
    await unchanged();
    await endsWith(upload(pausing(many), { timeoutMs: 100 }), 'DEADLINE_EXCEEDED');
    await unchanged();
    const cable = await Cable.start(new URL(`http://${backend.address}`));
    const channel = connect(`127.0.0.1:${cable.port}`);
    const broken = endsWith(clients(channel).controllers.uploadPayload(pausing(many)), 'UNAVAILABLE');
    await begun();
    await cable[Symbol.asyncDispose]();
    await broken;
    channel.close();
    await unchanged();
    const failing = async function* () {
      yield* many;
      await begun();
      throw new Error('the disk is gone');
    };
    await assert.rejects(upload(failing()), /the disk is gone/);
    await unchanged();
    await eventually(() => assert.equal(backend.app.admission.calls, 0));
  });

  it('leaves one whole payload when two are uploaded at once', async () => {
    const backupId = await newBackup(backend);
    const all = Array.from({ length: 4 }, () => randomBytes(40 * PIECE + 1));
    await Promise.all(all.map(bytes => upload(parts({ backupId }, bytes, 100_000))));
    const last = await downloaded(backend, backupId);
    assert.ok(all.some(bytes => bytes.equals(last)));
    assert.equal((await stored(backend.database, backupId)).controller, last.toString('base64'));
    const { controller } = await backend.controllers.getController({ backupId });
    const calls = all.map(bytes => upload(parts({ backupId, etag: controller!.etag }, bytes)));
    assert.equal(await winners(calls, { code: 'ABORTED', reason: 'ETAG_MISMATCH' }), 1);
  });

  it('answers a request id again as the first time, and changes nothing', async () => {
    const backupId = await newBackup(backend);
    const { controller } = await backend.controllers.getController({ backupId });
    const begin = { backupId, etag: controller!.etag, requestId: randomUUID() };
    const bytes = randomBytes(PIECE + 1);
    const first = await upload(parts(begin, bytes));
    await upload(parts({ backupId }, allBytes));
    await backend.database.query('update backup_controllers set status = 900 where backupid = $1', [backupId]);
    const before = await stored(backend.database, backupId);
    assert.deepEqual(await upload(parts(begin, bytes, 1000)), first);
    const reused = { code: 'INVALID_ARGUMENT', reason: 'REQUEST_ID_REUSED' } as const;
    await refused(upload(parts(begin, allBytes)), reused);
    await refused(upload(parts({ ...begin, etag: '' }, bytes)), reused);
    assert.deepEqual({ ...(await stored(backend.database, backupId)), others: 0 }, { ...before, others: 0 });
    assert.deepEqual(await downloaded(backend, backupId), allBytes);
  });

  it('remembers no request id of an upload that was refused', async () => {
    const backupId = await newBackup(backend);
    const begin = { backupId, requestId: randomUUID() };
    const wrong = [start(begin), chunk(allBytes), finish({ checksum: md5(Buffer.alloc(1)) })];
    await refused(upload(wrong), { code: 'DATA_LOSS', reason: 'CHECKSUM_MISMATCH' });
    await upload(parts(begin, allBytes));
    assert.deepEqual(await downloaded(backend, backupId), allBytes);
  });
});
