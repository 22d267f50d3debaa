import assert from 'node:assert/strict';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { ErrorReason, StatusError } from '../../src/errors.ts';
import {
  ControllerOrder,
  type ListControllersRequest,
  ListControllersRequestSchema,
  Operation,
  type Purpose,
  Status,
} from '../../src/gen/backup/v1/controller_pb.ts';
import { ListCoursesRequestSchema } from '../../src/gen/backup/v1/course_pb.ts';
import { paging } from '../../src/paging.ts';
import { Tokens } from '../../src/tokens.ts';

const tokens = new Tokens('key');

describe('Tokens', () => {
  it('gives back what was sealed', () => {
    fc.assert(
      fc.property(fc.string(), fc.jsonValue(), (purpose, content) => {
        const opened = tokens.open(purpose, tokens.seal(purpose, content));
        assert.equal(JSON.stringify(opened), JSON.stringify(content));
      }),
    );
  });

  it('fits into a URL', () => {
    assert.match(tokens.seal('a', ['ÿ'.repeat(100)]), /^[A-Za-z0-9_-]+$/);
  });

  it('opens no token of which one character was changed, left out or added', () => {
    for (const content of [['1'], ['12'], ['123'], ['9007199254740993', '5']]) {
      const token = tokens.seal('list', content);
      for (let i = 0; i < token.length; i++) {
        for (const other of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=') {
          if (other !== token[i]) refuses(token.slice(0, i) + other + token.slice(i + 1));
          refuses(token.slice(0, i) + other + token.slice(i));
        }
        refuses(token.slice(0, i) + token.slice(i + 1));
      }
      for (const more of ['A', '=', '!', ' ', '\n', '\0', token]) refuses(token + more);
    }
  });

  it('opens no token of another use or of another database', () => {
    refuses(tokens.seal('tail', ['1']));
    refuses(tokens.seal('list\0', ['1']));
    refuses(tokens.seal('', ['1']));
    refuses(new Tokens('other key').seal('list', ['1']));
  });

  it('opens no garbage', () => {
    for (const garbage of ['', 'A', 'AAAA', 'A'.repeat(22), '💾', '{"a":1}', 'null', '\0', 'A'.repeat(4096)])
      refuses(garbage);
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 100 }), refuses));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), bytes => refuses(Buffer.from(bytes).toString('base64url'))),
    );
  });
});

describe('paging', () => {
  const filter = { operation: Operation.BACKUP, itemId: 5n, statuses: [Status.AWAITING, Status.EXECUTING] };
  const first = { filter, order: ControllerOrder.OLDEST_FIRST, pageSize: 10 };
  const pageToken = page(first).next([12n, 'x']);

  it('starts without a token, and with the usual size', () => {
    assert.deepEqual([page({}).after, page({}).size], [undefined, 100]);
  });

  it('goes on where the token says, exactly', () => {
    assert.deepEqual(page({ ...first, pageToken }).after, ['12', 'x']);
    const far = page(first).next([2n ** 63n - 1n, -(2n ** 63n)]);
    assert.deepEqual(page({ ...first, pageToken: far }).after, ['9223372036854775807', '-9223372036854775808']);
  });

  it('lets the size of the page change', () => {
    assert.equal(page({ ...first, pageToken, pageSize: 1000 }).size, 1000);
    assert.equal(page({ ...first, pageToken, pageSize: 0 }).size, 100);
  });

  const others: Record<string, MessageInitShape<typeof ListControllersRequestSchema>> = {
    'another order': { ...first, order: ControllerOrder.NEWEST_FIRST },
    'no order': { ...first, order: ControllerOrder.UNSPECIFIED },
    'no filter': { ...first, filter: undefined as never },
    'an empty filter': { ...first, filter: {} },
    'another value': { ...first, filter: { ...filter, itemId: 6n } },
    'a value more': { ...first, filter: { ...filter, userId: 0n } },
    'a value less': { ...first, filter: { ...filter, statuses: [Status.AWAITING] } },
    'a purpose that plug-ins made up': { ...first, filter: { ...filter, purposes: [999 as Purpose] } },
  };
  for (const [what, request] of Object.entries(others)) {
    it(`refuses the token of a list with ${what}`, () => invalid(() => page({ ...request, pageToken })));
  }

  it('refuses the token of another method', () => {
    const request = create(ListCoursesRequestSchema);
    const foreign = paging(tokens, ListCoursesRequestSchema, request, 100).next([1n]);
    invalid(() => page({ pageToken: foreign }));
  });

  it('refuses an altered token and garbage', () => {
    for (const token of [pageToken.slice(1), `${pageToken}A`, 'AAAA', '\0', 'x'.repeat(4096)]) {
      invalid(() => page({ ...first, pageToken: token }));
    }
  });
});

function refuses(token: string): void {
  assert.equal(tokens.open('list', token), undefined);
}

function page(init: MessageInitShape<typeof ListControllersRequestSchema>) {
  const request: ListControllersRequest = create(ListControllersRequestSchema, init);
  return paging(tokens, ListControllersRequestSchema, request, 100);
}

function invalid(read: () => unknown): void {
  assert.throws(read, (error: unknown) => {
    assert.ok(error instanceof StatusError);
    assert.equal(error.reason, ErrorReason.PAGE_TOKEN_INVALID);
    return true;
  });
}
