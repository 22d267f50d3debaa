import assert from 'node:assert/strict';
import {
  create,
  type DescFile,
  type DescMessage,
  hasOption,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import { field as fieldRules, message as messageRules } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { ErrorReason, StatusError, toStatus } from '../../src/errors.ts';
import { messageValidator } from '../../src/grpc/validate.ts';
import { detailsOf } from './status.ts';

/** Values on both sides of a rule's edge; those refused by the path that must be named. */
type Edge = { accepts: unknown[]; refuses: Record<string, unknown[]> };

/**
 * What is tried on a message: for each field values that replace those of `valid`, and under `whole` sets of fields for the rules that
 * compare fields with each other.
 */
type Edges<S extends DescMessage> = { [F in Exclude<keyof MessageShape<S>, keyof Message> | 'whole']?: Edge };

/** The table of one message: its schema, a message that is valid, and the edges. */
type Table = { schema: DescMessage; valid: object; edges: Record<string, Edge> };

export function table<S extends DescMessage>(schema: S, valid: MessageInitShape<S>, edges: Edges<S>): Table {
  return { schema, valid, edges: edges as Record<string, Edge> };
}

const validate = messageValidator();

/** Describes the rules of a file: each value of the tables is tried, and every rule of the file must have its row. */
export function describeRules(file: DescFile, tables: Table[]): void {
  describe(`The rules of ${file.name}.proto`, () => {
    for (const { schema, valid, edges } of tables) {
      it(`accept a plain ${schema.name}`, () => accepts(schema, valid));

      for (const [name, edge] of Object.entries(edges)) {
        const message = (value: unknown) =>
          name === 'whole' ? { ...valid, ...(value as object) } : { ...valid, [name]: value };
        it(`hold ${schema.name}.${name}`, () => {
          assert.ok(Object.keys(edge.refuses).length > 0, 'nothing is refused');
          for (const value of edge.accepts) accepts(schema, message(value));
          for (const [path, values] of Object.entries(edge.refuses)) {
            for (const value of values) refuses(schema, message(value), path);
          }
        });
      }
    }

    it('are all in the table', () => {
      const known = new Set(
        tables.flatMap(({ schema, edges }) => Object.keys(edges).map(name => `${schema.name}.${name}`)),
      );
      const ruled = file.messages.flatMap(schema => [
        ...(hasOption(schema, messageRules) ? [`${schema.name}.whole`] : []),
        ...schema.fields
          .filter(field => hasOption(field, fieldRules))
          .map(field => `${schema.name}.${localName(field)}`),
      ]);
      assert.deepEqual(
        ruled.filter(name => !known.has(name)),
        [],
        'rules without a row',
      );
    });
  });
}

/** Asserts that a message is accepted. */
export function accepts(schema: DescMessage, init: object): void {
  validate(schema, create(schema, init as MessageInitShape<DescMessage>));
}

/** Asserts that a message is refused as INVALID_FIELD and that exactly this path is named. */
export function refuses(schema: DescMessage, init: object, path: string): void {
  const error = errorOf(() => accepts(schema, init));
  assert.ok(error, `accepted: ${show(init)}, expected a refusal of ${path}`);
  assert.ok(error instanceof StatusError, `${String(error)}: ${show(init)}`);
  assert.equal(error.reason, ErrorReason.INVALID_FIELD);
  const violations = detailsOf(toStatus(error, '').metadata!).badRequest!.fieldViolations;
  assert.deepEqual([...new Set(violations.map(({ field }) => field))], [path], show(init));
  assert.ok(violations.every(({ description }) => description.length > 0));
}

function errorOf(run: () => void): unknown {
  try {
    run();
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Members of a oneof are set by the name of the oneof. */
function localName({ localName, oneof }: DescMessage['fields'][number]): string {
  return oneof?.localName ?? localName;
}

function show(init: object): string {
  const short = (_: string, value: unknown) => {
    if (value instanceof Uint8Array) return `${value.length} bytes`;
    return typeof value === 'bigint' ? `${value}` : value;
  };
  return JSON.stringify(init, short).slice(0, 300);
}

/** 32 hexadecimal digits, with letters among them, from a number. */
export function hex(n: number): string {
  return `ab${n.toString(16).padStart(30, '0')}`;
}

const HEX = 'a0'.repeat(16);

/** A backup id where it is required. */
export const backupId = {
  accepts: [HEX, '0'.repeat(32), '0123456789abcdef'.repeat(2)],
  refuses: { backup_id: ['', ...badHex(HEX)] },
};

/** Everything that is almost 32 lower-case hexadecimal digits. */
export function badHex(good: string): string[] {
  const long = 'a'.repeat(1_000_000);
  return [
    good.slice(1),
    `${good}0`,
    good.toUpperCase(),
    `g${good.slice(1)}`,
    ` ${good}`,
    `${good}\n`,
    `${good.slice(1)}\0`,
    long,
  ];
}

const UUID = '01234567-89ab-4def-8123-456789abcdef';

export const requestId = {
  accepts: ['', UUID, UUID.toUpperCase(), '00000000-0000-0000-0000-000000000000'],
  refuses: {
    request_id: [
      UUID.slice(1),
      `${UUID}0`,
      UUID.replaceAll('-', ''),
      `{${UUID}}`,
      ` ${UUID}`,
      `${UUID}\0`,
      `${UUID}\n`,
    ],
  },
};

export const etag = {
  accepts: ['', 'x'.repeat(64), 'ä'.repeat(32), '\0'],
  refuses: { etag: ['x'.repeat(65), 'ä'.repeat(33), 'x'.repeat(1_000_000)] },
};

export const pageSize = { accepts: [0, 1, 1000], refuses: { page_size: [-1, 1001, -(2 ** 31), 2 ** 31 - 1] } };

export const pageToken = {
  accepts: ['', 'x'.repeat(4096), '\0'],
  refuses: { page_token: ['x'.repeat(4097), 'ä'.repeat(2049), 'x'.repeat(1_000_000)] },
};

const LAST_SECOND = 253_402_300_799n;

/** A time of the schedule or of a log: the edges of the range, and times that are none. */
export function time(path: string, firstSecond: bigint) {
  return {
    accepts: [{ seconds: firstSecond }, { seconds: LAST_SECOND, nanos: 999_999_999 }],
    refuses: {
      [path]: [
        { seconds: firstSecond - 1n },
        { seconds: firstSecond - 1n, nanos: 999_999_999 },
        { seconds: LAST_SECOND + 1n },
        { seconds: -(2n ** 63n) },
        { seconds: 2n ** 63n - 1n },
        ...badNanos(5n),
      ],
    },
  };
}

/** Timestamps and durations whose nanoseconds are out of their range. */
export function badNanos(seconds: bigint) {
  return [-1, 1_000_000_000, 2 ** 31 - 1, -(2 ** 31)].map(nanos => ({ seconds, nanos }));
}

export const int64From = (path: string, least: bigint) => ({
  accepts: [least, 9_007_199_254_740_993n, 2n ** 63n - 1n],
  refuses: { [path]: [least - 1n, -(2n ** 63n)] },
});
