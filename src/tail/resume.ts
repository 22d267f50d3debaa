import { ErrorReason, StatusError } from '../errors.ts';
import type { Position } from '../log/page.ts';
import type { Tokens } from '../tokens.ts';

type TokenContent = [backupId: string, id: string, fingerprint: string][];

const TOKEN_PURPOSE = 'tail';

/** A token that continues after these positions. */
export function sealToken(tokens: Tokens, logs: readonly { backupId: string; position: Position }[]): string {
  const content: TokenContent = logs.map(({ backupId, position }) => [
    backupId,
    String(position.id),
    position.fingerprint,
  ]);
  return tokens.seal(TOKEN_PURPOSE, content);
}

/** The positions of a token for these backups; it may cover more of them. */
export function openToken(tokens: Tokens, token: string, backupIds: string[]): Map<string, Position> {
  const content = tokens.open(TOKEN_PURPOSE, token) as TokenContent | undefined;
  if (!content) throw new StatusError(ErrorReason.RESUME_TOKEN_INVALID, 'resume_token: not a token of a tail');
  const known = new Map(content.map(([backupId, id, fingerprint]) => [backupId, { id: BigInt(id), fingerprint }]));
  const missing = backupIds.find(id => !known.has(id));
  if (missing) throw new StatusError(ErrorReason.RESUME_TOKEN_INVALID, `resume_token: does not cover ${missing}`);
  return new Map(backupIds.map(id => [id, known.get(id)!]));
}
