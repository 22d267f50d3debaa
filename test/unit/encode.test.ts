import { strict as assert } from 'node:assert';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import type { LogLevel } from '../../src/gen/backup/v1/entry_pb.ts';
import {
  type LogEntry,
  LogEntrySchema,
  TailEntriesSchema,
  TailLogsResponseSchema,
} from '../../src/gen/backup/v1/log_pb.ts';
import { encodeEntries, lengthDelimited } from '../../src/log/encode.ts';
import type { Entry } from '../../src/log/entry.ts';

const bigint = fc.oneof(fc.bigInt({ min: 0n, max: 300n }), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }));
const integer = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer());
const entry: fc.Arbitrary<Entry> = fc.record({
  id: bigint,
  level: integer,
  message: fc.oneof(fc.string({ unit: 'grapheme' }), fc.string({ minLength: 100, maxLength: 20_000 })),
  seconds: bigint,
  nanos: integer,
  attempt: integer,
});
const backupId = fc.constantFrom('', '0123456789abcdef0123456789abcdef');

describe('Entries encoded by hand', () => {
  it('are on the wire what generated code reads and writes', () => {
    fc.assert(
      fc.property(fc.array(entry), backupId, (entries, backupId) => {
        const { bytes, ends } = encodeEntries(entries, TailEntriesSchema.field.entries.number, backupId);
        assert.deepEqual(fromBinary(TailEntriesSchema, bytes), create(TailEntriesSchema, { entries: messages() }));
        assert.deepEqual([ends.length, ends.at(-1) ?? 0], [entries.length, bytes.length]);
        // Each part by itself, too: pages are cut out between the ends.
        for (const [i, end] of ends.entries()) {
          const { entries: part } = fromBinary(TailEntriesSchema, bytes.subarray(ends[i - 1] ?? 0, end));
          assert.equal(part[0]?.message, entries[i]!.message);
        }

        function messages(): LogEntry[] {
          return entries.map(({ id, level, message, attempt, seconds, nanos }) =>
            create(LogEntrySchema, {
              backupId,
              id,
              level: level as LogLevel,
              message,
              attempt,
              createTime: { seconds, nanos },
            }),
          );
        }
      }),
    );
  });

  it('are the same when their numbers came as numbers', () => {
    const small = fc.oneof(fc.nat({ max: 300 }), fc.maxSafeNat());
    fc.assert(
      fc.property(entry, small, small, (given, id, seconds) => {
        const numbers = encodeEntries([{ ...given, id, seconds }], 1);
        const bigints = encodeEntries([{ ...given, id: BigInt(id), seconds: BigInt(seconds) }], 1);
        assert.deepEqual(numbers, bigints);
      }),
    );
  });

  it('keep no memory besides their own: tails keep many small ones', () => {
    const given = { id: 1n, level: 40, message: 'short', seconds: 1n, nanos: 0, attempt: 0 };
    const { bytes } = encodeEntries([given], 2);
    assert.equal(bytes.buffer.byteLength, bytes.length);
  });

  it('are wrapped as generated code wraps them', () => {
    for (const length of [0, 1, 127, 128, 20_000]) {
      const text = 'x'.repeat(length);
      const message = create(TailLogsResponseSchema, { event: { case: 'entries', value: { resumeToken: text } } });
      const token = lengthDelimited(TailEntriesSchema.field.resumeToken.number, Buffer.from(text));
      const wrapped = lengthDelimited(TailLogsResponseSchema.field.entries.number, ...(length > 0 ? [token] : []));
      assert.deepEqual(wrapped, Buffer.from(toBinary(TailLogsResponseSchema, message)));
    }
  });
});
