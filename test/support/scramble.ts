import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';

/** Texts that a field of this name may well have, so that a message gets past the rules and into the service. */
export type Likely = Record<string, readonly string[]>;

/**
 * Bytes on the wire of messages of this type, as they should be and as they should not: every field there or not, once or often, with likely and with
 * extreme values, text that is not UTF-8, fields and enum values that nobody knows; some of them cut off, with bits turned over or of bytes that
 * mean nothing.
 */
export function scrambled(schema: DescMessage, likely: Likely): fc.Arbitrary<Buffer> {
  const right = messageOf(schema, likely, DEPTH);
  return fc.oneof(
    { weight: 12, arbitrary: right },
    { weight: 1, arbitrary: fc.tuple(right, fc.nat()).map(([bytes, n]) => bytes.subarray(0, n % (bytes.length + 1))) },
    { weight: 1, arbitrary: fc.tuple(right, fc.array(fc.nat(), { minLength: 1, maxLength: 5 })).map(flip) },
    { weight: 1, arbitrary: fc.tuple(right, unknown()).map(parts => Buffer.concat(parts)) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 100 }).map(bytes => Buffer.from(bytes)) },
    { weight: 1, arbitrary: fc.constantFrom(...MONSTERS) },
  );
}

const DEPTH = 4;

// Groups in groups, each with an end or without, and lengths that nobody has sent.
const MONSTERS = [
  Buffer.alloc(100_000, 0x0b),
  Buffer.concat([Buffer.alloc(20_000, 0xa3), Buffer.alloc(20_000, 0xa4)]),
  Buffer.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0x07),
  Buffer.alloc(11, 0xff),
  Buffer.alloc(0),
];

function messageOf(schema: DescMessage, likely: Likely, depth: number): fc.Arbitrary<Buffer> {
  const fields = schema.fields
    .filter(field => depth > 0 || !field.message)
    .map(field =>
      fc.oneof(
        { weight: 6, arbitrary: fc.constant(Buffer.alloc(0)) },
        { weight: likely[field.name] ? 12 : 3, arbitrary: fieldOf(field, likely, depth) },
      ),
    );
  return fc.tuple(...fields).map(parts => Buffer.concat(parts));
}

/** A field with its tag, once; a list or a map several times, now and then very often. */
function fieldOf(field: DescField, likely: Likely, depth: number): fc.Arbitrary<Buffer> {
  const one = fc
    .oneof({ weight: 30, arbitrary: contentOf(field, likely, depth) }, { weight: 1, arbitrary: anyValue() })
    .map(({ type, bytes }) => Buffer.concat([tag(field.number, type), bytes]));
  if (field.fieldKind !== 'list' && field.fieldKind !== 'map') return one;
  return fc.oneof(
    { weight: 20, arbitrary: fc.array(one, { minLength: 1, maxLength: 3 }).map(all => Buffer.concat(all)) },
    { weight: 1, arbitrary: fc.tuple(one, fc.constantFrom(20, 1001, 3000)).map(repeated) },
  );
}

type Value = { type: WireType; bytes: Uint8Array };

function contentOf(field: DescField, likely: Likely, depth: number): fc.Arbitrary<Value> {
  if (field.fieldKind === 'map') return delimited(fc.uint8Array({ maxLength: 20 }));
  if (field.message) return delimited(withTimes(field.message, likely, depth - 1));
  if (field.enum) {
    const known = field.enum.values.map(({ number }) => number);
    const all = fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...known) }, fc.constantFrom(-1, 99, 2 ** 31 - 1));
    return all.map(number => write(WireType.Varint, writer => writer.int32(number)));
  }
  return scalarOf(field.scalar as ScalarType, likely[field.name]);
}

function scalarOf(scalar: ScalarType, likely: readonly string[] = []): fc.Arbitrary<Value> {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES: {
      const texts = fc.constantFrom(...TEXTS).map(text => Buffer.from(text));
      const likelies = likely.map(text => Buffer.from(text));
      if (likelies.length === 0) return delimited(texts);
      return delimited(fc.oneof({ weight: 12, arbitrary: fc.constantFrom(...likelies) }, texts));
    }
    case ScalarType.DOUBLE:
      return fc
        .constantFrom(0, 0.5, 1, -0, -1, 1e308, 5e-324, Number.NaN, Number.POSITIVE_INFINITY)
        .map(number => write(WireType.Bit64, writer => writer.double(number)));
    case ScalarType.FLOAT:
      return fc.double().map(number => write(WireType.Bit32, writer => writer.float(Math.fround(number) || 0)));
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return fc.integer().map(number => write(WireType.Bit32, writer => writer.sfixed32(number)));
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return fc.constantFrom(...INTEGERS).map(number => write(WireType.Bit64, writer => writer.sfixed64(number)));
    case ScalarType.BOOL:
      return fc.boolean().map(yes => write(WireType.Varint, writer => writer.bool(yes)));
    default: {
      const likelies = likely.map(BigInt);
      const all = fc.constantFrom(...INTEGERS);
      const numbers =
        likelies.length > 0 ? fc.oneof({ weight: 12, arbitrary: fc.constantFrom(...likelies) }, all) : all;
      return numbers.map(number => write(WireType.Varint, writer => writer.int64(number)));
    }
  }
}

/** Times that are none are rare, so that the rest of the message is looked at. */
function withTimes(schema: DescMessage, likely: Likely, depth: number): fc.Arbitrary<Uint8Array> {
  const any = messageOf(schema, likely, depth);
  if (!/^google\.protobuf\.(Timestamp|Duration)$/.test(schema.typeName)) return any;
  const seconds = schema.typeName.endsWith('Duration')
    ? [0n, 1n, 5n, 60n, 86_400n]
    : [0n, 1n, 1_790_000_000n, 4_000_000_000n];
  const usual = fc
    .tuple(fc.constantFrom(...seconds), fc.constantFrom(0, 1, 999_999_999))
    .map(([whole, nanos]) =>
      new BinaryWriter().tag(1, WireType.Varint).int64(whole).tag(2, WireType.Varint).int32(nanos).finish(),
    );
  return fc.oneof({ weight: 8, arbitrary: usual }, any);
}

function delimited(content: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Value> {
  return content.map(bytes => write(WireType.LengthDelimited, writer => writer.bytes(bytes)));
}

/** Of any wire type, right or wrong. */
function anyValue(): fc.Arbitrary<Value> {
  return fc.record({
    type: fc.constantFrom(
      WireType.Varint,
      WireType.Bit64,
      WireType.LengthDelimited,
      WireType.StartGroup,
      WireType.Bit32,
    ),
    bytes: fc.uint8Array({ maxLength: 12 }),
  });
}

/** A field that nobody knows. */
function unknown(): fc.Arbitrary<Buffer> {
  return fc
    .tuple(fc.constantFrom(500, 19_000, 2 ** 29 - 1), fc.uint8Array({ maxLength: 30 }))
    .map(([number, bytes]) =>
      Buffer.concat([tag(number, WireType.LengthDelimited), new BinaryWriter().bytes(bytes).finish()]),
    );
}

function tag(number: number, type: WireType): Uint8Array {
  return new BinaryWriter().tag(number, type).finish();
}

function write(type: WireType, how: (writer: BinaryWriter) => BinaryWriter): Value {
  return { type, bytes: how(new BinaryWriter()).finish() };
}

function repeated([one, times]: [Buffer, number]): Buffer {
  return Buffer.concat(Array.from({ length: Math.min(times, 500_000 / (one.length + 1)) }, () => one));
}

function flip([bytes, places]: [Buffer, number[]]): Buffer {
  const flipped = Buffer.from(bytes);
  for (const place of places) if (flipped.length > 0) flipped[place % flipped.length]! ^= 1 << (place % 8);
  return flipped;
}

const TEXTS: (string | Buffer)[] = [
  '',
  'x',
  ' ',
  '\0',
  'a\0b',
  'größer 😀 \u202e\ufeff',
  "'; drop table backup_controllers; --",
  '%_\\',
  '{"a": [1]}',
  '../../etc/passwd',
  '\n\r\t\x1b[31m',
  'x'.repeat(300),
  'x'.repeat(70_000),
  '\ud7ff\ue000',
  // Not UTF-8: a byte that is none, a lone surrogate, an overlong slash, the middle of a character.
  Buffer.of(0xff),
  Buffer.of(0xed, 0xa0, 0x80),
  Buffer.of(0xc0, 0xaf),
  Buffer.of(0xe2, 0x82),
];

const INTEGERS = [
  0n,
  1n,
  2n,
  10n,
  1000n,
  1001n,
  -1n,
  2n ** 31n - 1n,
  -(2n ** 31n),
  2n ** 32n,
  2n ** 53n,
  2n ** 63n - 1n,
  -(2n ** 63n),
];
