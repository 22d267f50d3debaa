/** `piece`: a part of a line that was too long. */
export type Line = { bytes: Buffer; piece: boolean };

/**
 * The lines of a stream of bytes, without their ends (`\n` or `\r\n`); the last one may have no end. A line that is longer than `most` bytes comes
 * in pieces of up to so many, cut between characters of UTF-8. It holds no more than a piece and what the stream last gave.
 */
export async function* byteLines(chunks: AsyncIterable<Buffer>, most: number): AsyncGenerator<Line> {
  let rest: Buffer = Buffer.alloc(0);
  let piece = false;
  for await (const chunk of chunks) {
    const searched = rest.length;
    rest = searched === 0 ? chunk : Buffer.concat([rest, chunk]);
    let from = 0;
    for (let end = rest.indexOf(LF, searched); end >= 0; end = rest.indexOf(LF, from)) {
      yield* cut(rest.subarray(from, end > from && rest[end - 1] === CR ? end - 1 : end), most, piece);
      piece = false;
      from = end + 1;
    }
    rest = rest.subarray(from);
    // One byte more than allowed may be the CR of an end.
    while (rest.length > most + 1) {
      const at = boundary(rest, most);
      yield { bytes: rest.subarray(0, at), piece: true };
      rest = rest.subarray(at);
      piece = true;
    }
  }
  if (rest.length > 0) yield* cut(rest, most, piece);
}

function* cut(line: Buffer, most: number, isRest: boolean): Generator<Line> {
  // What was a whole number of pieces has no empty one at its end.
  if (isRest && line.length === 0) return;
  const piece = isRest || line.length > most;
  for (const bytes of pieces(line, most)) yield { bytes, piece };
}

/** One or more, of up to `most` bytes, cut between characters of UTF-8. */
export function* pieces(line: Buffer, most: number): Generator<Buffer> {
  let rest = line;
  while (rest.length > most) {
    const at = boundary(rest, most);
    yield rest.subarray(0, at);
    rest = rest.subarray(at);
  }
  yield rest;
}

/** The last place up to `to` where a character begins; `to` itself when none is that near, so that it is not UTF-8. */
function boundary(bytes: Buffer, to: number): number {
  for (let at = to; at > 0 && at > to - 4; at--) if ((bytes[at]! & 0xc0) !== 0x80) return at;
  return to;
}

const LF = 0x0a;
const CR = 0x0d;
