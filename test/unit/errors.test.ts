import assert from 'node:assert/strict';
import { create, getOption } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { DriverException, OptimisticLockError } from '@mikro-orm/core';
import {
  ErrorReason,
  invalidFields,
  isOutage,
  preconditions,
  retryAfter,
  StatusError,
  toStatus,
} from '../../src/errors.ts';
import { code, ErrorReasonSchema } from '../../src/gen/backup/v1/error_pb.ts';
import { Code, CodeSchema } from '../../src/gen/google/rpc/code_pb.ts';
import { LocalizedMessageSchema } from '../../src/gen/google/rpc/error_details_pb.ts';
import { detailsOf } from '../support/status.ts';

const SECRET = 'secret';

// What PostgreSQL, pg or the network says, and what becomes of it.
const faults: [what: string, error: Error, reason: keyof typeof ErrorReason][] = [
  ['a connection that failed', sql('08006'), 'DATABASE_UNAVAILABLE'],
  ['a connection that was refused', sql('08001'), 'DATABASE_UNAVAILABLE'],
  ['an administrator who ended the session', sql('57P01'), 'DATABASE_UNAVAILABLE'],
  ['a server that crashed', sql('57P02'), 'DATABASE_UNAVAILABLE'],
  ['a server that starts', sql('57P03'), 'DATABASE_UNAVAILABLE'],
  ['a server with too many connections', sql('53300'), 'DATABASE_UNAVAILABLE'],
  ['a transaction that stood still', sql('25P03'), 'DATABASE_UNAVAILABLE'],
  ['a server that has become a standby', sql('25006'), 'DATABASE_UNAVAILABLE'],
  ['a full disk', sql('53100'), 'DATABASE_EXHAUSTED'],
  ['a server without memory', sql('53200'), 'DATABASE_EXHAUSTED'],
  ['a closed port', sql('ECONNREFUSED'), 'DATABASE_UNAVAILABLE'],
  ['a broken socket', sql('ECONNRESET'), 'DATABASE_UNAVAILABLE'],
  ['an unknown host', sql('ENOTFOUND'), 'DATABASE_UNAVAILABLE'],
  ['a connection that ended', new Error(`Connection terminated unexpectedly ${SECRET}`), 'DATABASE_UNAVAILABLE'],
  ['an exhausted pool', new Error('timeout exceeded when trying to connect'), 'DATABASE_UNAVAILABLE'],
  ['a query without an answer', new Error('Query read timeout'), 'DATABASE_UNAVAILABLE'],
  ['a serialization failure', sql('40001'), 'CONFLICT'],
  ['a deadlock', sql('40P01'), 'CONFLICT'],
  ['a statement that took too long', sql('57014'), 'DEADLINE_EXCEEDED'],
  ['a row that changed meanwhile', new OptimisticLockError(SECRET), 'ETAG_MISMATCH'],
  ['a broken constraint', sql('23514'), 'INTERNAL'],
  ['a number out of range', sql('22003'), 'INTERNAL'],
  ['a missing table', sql('42P01'), 'INTERNAL'],
  ['a fault of the program', new TypeError(SECRET), 'INTERNAL'],
];

describe('The reasons of errors', () => {
  it('each have a canonical code that is an error', () => {
    for (const value of ErrorReasonSchema.values.filter(({ number }) => number !== ErrorReason.UNSPECIFIED)) {
      const annotated = getOption(value, code);
      assert.ok(CodeSchema.value[annotated] && annotated !== Code.OK, `${value.name} has no code`);
      assert.equal(new StatusError(value.number as ErrorReason, '').code, annotated);
    }
  });

  it('never stand for UNKNOWN', () => {
    for (const value of ErrorReasonSchema.values) assert.notEqual(getOption(value, code), Code.UNKNOWN);
  });
});

describe('toStatus', () => {
  for (const [what, error, reason] of faults) {
    it(`answers ${what} with ${reason}, in its own words`, () => {
      for (const thrown of [error, wrapped(error), wrapped(wrapped(error))]) {
        const status = toStatus(thrown, 'request-1');
        const details = detailsOf(status.metadata!);
        assert.equal(details.info?.reason, reason);
        assert.equal(status.code, new StatusError(ErrorReason[reason], '').code);
        assert.equal(
          details.retry !== undefined,
          ['DATABASE_UNAVAILABLE', 'DATABASE_EXHAUSTED', 'CONFLICT'].includes(reason),
        );
        leaksNothing(status);
      }
    });
  }

  it('answers what is no error at all with INTERNAL', () => {
    for (const thrown of [SECRET, undefined, null, 5, { message: SECRET }]) {
      const status = toStatus(thrown, 'request-1');
      assert.equal(status.code, Code.INTERNAL);
      assert.equal(status.details, 'internal error');
      leaksNothing(status);
    }
  });

  it('carries reason, domain, metadata, request id and every detail', () => {
    const more = anyPack(LocalizedMessageSchema, create(LocalizedMessageSchema, { locale: 'de', message: 'hallo' }));
    const details = [
      preconditions([{ type: 'NEXT_STATUS', subject: 'PLANNED', description: 'x' }]),
      retryAfter(1250),
      more,
    ];
    const error = new StatusError(ErrorReason.STATUS_CHANGED, 'for people', {
      details,
      metadata: { status: 'PLANNED' },
    });
    const status = toStatus(error, 'request-7');
    const told = detailsOf(status.metadata!);
    assert.deepEqual([status.code, status.details], [Code.ABORTED, 'for people']);
    assert.deepEqual([told.code, told.message], [Code.ABORTED, 'for people']);
    assert.deepEqual({ ...told.info!.metadata }, { status: 'PLANNED' });
    assert.deepEqual([told.info!.reason, told.info!.domain], ['STATUS_CHANGED', 'backup.v1']);
    assert.equal(told.request!.requestId, 'request-7');
    assert.equal(told.preconditions!.violations[0]!.subject, 'PLANNED');
    assert.deepEqual([told.retry!.retryDelay!.seconds, told.retry!.retryDelay!.nanos], [1n, 250_000_000]);
    assert.ok(bytesOf(status).includes('hallo'));
  });

  it('names every field that is at fault', () => {
    const violations = [
      { field: 'a.b[1]', description: 'is odd' },
      { field: 'c', description: 'is even' },
    ];
    const { badRequest, message } = detailsOf(toStatus(invalidFields(...violations), '').metadata!);
    assert.deepEqual(
      badRequest!.fieldViolations.map(({ field, description }) => ({ field, description })),
      violations,
    );
    assert.equal(message, 'a.b[1]: is odd; c: is even');
  });
});

describe('isOutage', () => {
  it('is true only while the database cannot be reached', () => {
    for (const [, error, reason] of faults) assert.equal(isOutage(error), reason === 'DATABASE_UNAVAILABLE');
  });
});

function sql(state: string): Error {
  return Object.assign(new Error(`${SECRET} of the database`), { code: state, detail: SECRET });
}

function wrapped(error: Error): Error {
  return error instanceof OptimisticLockError ? error : new DriverException(error);
}

function leaksNothing(status: ReturnType<typeof toStatus>): void {
  assert.ok(!status.details.includes(SECRET), status.details);
  assert.ok(!bytesOf(status).includes(SECRET));
}

function bytesOf(status: ReturnType<typeof toStatus>): Buffer {
  return status.metadata!.get('grpc-status-details-bin')[0] as Buffer;
}
