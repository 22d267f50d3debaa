import { ErrorReason, StatusError } from '../errors.ts';
import type { Position } from '../log/entry.ts';
import type { Tokens } from '../tokens.ts';
import { type Place, Places, type Region } from './places.ts';
import type { PlainStart } from './start.ts';

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

type PlacesContent = [
  filter: string,
  at: string,
  cursor: string,
  regions: [upTo: string, at: string, start: StartContent | 0][],
  positions: [backupId: string, id: string, fingerprint: string][],
];

type StartContent = ['beginning'] | ['last', entries: number] | ['time', seconds: string, nanos: number];

const PLACES_PURPOSE = 'tail of many';

/** A token that continues from these places, of the same filter only. */
export function sealPlaces(tokens: Tokens, { at, cursor, regions, positions }: Places, filter: string): string {
  const content: PlacesContent = [
    filter,
    String(at),
    cursor,
    regions.map(region => [region.upTo, String(region.at), region.start ? toStart(region.start) : 0]),
    // There may be thousands of them.
    [...positions].map(([backupId, { position }]) => [
      Buffer.from(backupId, 'hex').toString('base64url'),
      String(position.id),
      position.fingerprint,
    ]),
  ];
  return tokens.seal(PLACES_PURPOSE, content);
}

export function openPlaces(tokens: Tokens, token: string, filter: string): Places {
  const content = tokens.open(PLACES_PURPOSE, token) as PlacesContent | undefined;
  if (!content || content[0] !== filter) {
    throw new StatusError(ErrorReason.RESUME_TOKEN_INVALID, 'resume_token: not a token of a tail with this filter');
  }
  const [, at, cursor, regions, positions] = content;
  const places = new Places(
    BigInt(at),
    regions.map(([upTo, at, start]) => ({ upTo, at: BigInt(at), ...(start && { start: fromStart(start) }) }) as Region),
    new Map(positions.map(place => fromPosition(place))),
  );
  places.cursor = cursor;
  return places;
}

function fromPosition([backupId, id, fingerprint]: PlacesContent[4][number]): [string, Place] {
  const position = { id: BigInt(id), fingerprint };
  // Until its log is looked at, it may have grown at any time.
  return [Buffer.from(backupId, 'base64url').toString('hex'), { position, lastMicros: FAR, createdAt: 0n }];
}

const FAR = 2n ** 62n;

function toStart(start: PlainStart): StartContent {
  if (start.from === 'last') return ['last', start.entries];
  if (start.from === 'time') return ['time', String(start.seconds), start.nanos];
  return ['beginning'];
}

function fromStart(content: StartContent): PlainStart {
  if (content[0] === 'last') return { from: 'last', entries: content[1] };
  if (content[0] === 'time') return { from: 'time', seconds: BigInt(content[1]), nanos: content[2] };
  return { from: 'beginning' };
}
