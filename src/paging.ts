import { createHash } from 'node:crypto';
import { clone, type DescMessage, type Message, toBinary } from '@bufbuild/protobuf';
import { ErrorReason, StatusError } from './errors.ts';
import type { Tokens } from './tokens.ts';

type PagedRequest = Message & { pageSize: number; pageToken: string };

export type Page = {
  size: number;
  /** The keyset of the last row of the page before, as `next` was given it; undefined on the first page. */
  after: string[] | undefined;
  /** The token for the page after the row with this keyset. */
  next(keyset: (string | bigint)[]): string;
};

/** The page that a request asks for. A token is bound to the request's other arguments: with others it would skip or repeat rows. */
export function paging(tokens: Tokens, schema: DescMessage, request: PagedRequest, defaultSize: number): Page {
  const purpose = `${schema.typeName} ${digest(schema, request)}`;
  const after = request.pageToken ? tokens.open(purpose, request.pageToken) : undefined;
  if (request.pageToken && !after) {
    throw new StatusError(ErrorReason.PAGE_TOKEN_INVALID, 'page_token: not a token of this list with these arguments');
  }
  return {
    size: request.pageSize || defaultSize,
    after: after as string[] | undefined,
    next: keyset => tokens.seal(purpose, keyset.map(String)),
  };
}

function digest(schema: DescMessage, request: PagedRequest): string {
  const rest = clone(schema, request) as PagedRequest;
  rest.pageSize = 0;
  rest.pageToken = '';
  return createHash('sha256').update(toBinary(schema, rest)).digest('base64url');
}
