import type { DescField, DescMessage, Message } from '@bufbuild/protobuf';
import { type Duration, DurationSchema, type Timestamp, TimestampSchema } from '@bufbuild/protobuf/wkt';

import { MOST_VIOLATIONS } from '../errors.ts';

export type MalformedTime = { field: string; description: string };

/** The first timestamps and durations of a message that are none: bytes on the wire can hold any number. protovalidate lets them pass. */
export function malformedTimes(schema: DescMessage, message: Message): MalformedTime[] {
  const found: MalformedTime[] = [];
  for (const check of checksOf(schema)) check(message, '', found);
  return found;
}

type Check = (message: Message, path: string, found: MalformedTime[]) => void;

// By schema, so that messages without times cost nothing.
const known = new Map<DescMessage, Check[]>();

function checksOf(schema: DescMessage): Check[] {
  const before = known.get(schema);
  if (before) return before;
  const checks: Check[] = [];
  known.set(schema, checks);
  for (const field of schema.fields) {
    const check = field.message && checkOf(field.message);
    if (check) checks.push((message, path, found) => visit(message, field, path, found, check));
  }
  return checks;
}

function checkOf(schema: DescMessage): Check | undefined {
  if (schema.typeName === TimestampSchema.typeName) return checkTimestamp;
  if (schema.typeName === DurationSchema.typeName) return checkDuration;
  const checks = checksOf(schema);
  if (checks.length === 0) return undefined;
  return (message, path, found) => {
    for (const check of checks) check(message, `${path}.`, found);
  };
}

function visit(message: Message, field: DescField, path: string, found: MalformedTime[], check: Check): void {
  const at = `${path}${field.name}`;
  const values = message as unknown as Record<string, unknown>;
  if (field.oneof) {
    const chosen = values[field.oneof.localName] as { case?: string; value?: Message };
    if (chosen.case === field.localName) check(chosen.value!, at, found);
  } else if (field.fieldKind === 'list') {
    for (const [i, item] of (values[field.localName] as Message[]).entries()) {
      if (found.length >= MOST_VIOLATIONS) return;
      check(item, `${at}[${i}]`, found);
    }
  } else if (field.fieldKind === 'message') {
    const value = values[field.localName] as Message | undefined;
    if (value) check(value, at, found);
  }
}

function checkTimestamp(message: Message, field: string, found: MalformedTime[]): void {
  const { seconds, nanos } = message as Timestamp;
  if (seconds < YEAR_1 || seconds > YEAR_9999) found.push({ field, description: 'must be in the years 1 to 9999' });
  if (nanos < 0 || nanos > 999_999_999) found.push({ field, description: 'nanos must be from 0 to 999999999' });
}

function checkDuration(message: Message, field: string, found: MalformedTime[]): void {
  const { seconds, nanos } = message as Duration;
  const opposed = (seconds > 0n && nanos < 0) || (seconds < 0n && nanos > 0);
  if (opposed || Math.abs(nanos) > 999_999_999) {
    found.push({ field, description: 'nanos must be at most 999999999, with the sign of the seconds' });
  }
}

const YEAR_1 = -62_135_596_800n;
const YEAR_9999 = 253_402_300_799n;
