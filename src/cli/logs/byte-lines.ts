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

function* cut(line: Buffer, most: number, piece: boolean): Generator<Line> {
  if (line.length <= most) {
    // What was a whole number of pieces has no empty one at its end.
    if (line.length > 0 || !piece) yield { bytes: line, piece };
    return;
  }
  const at = boundary(line, most);
  yield { bytes: line.subarray(0, at), piece: true };
  yield* cut(line.subarray(at), most, true);
}

/** The last place up to `to` where a character begins; `to` itself when none is that near, so that it is not UTF-8. */
function boundary(bytes: Buffer, to: number): number {
  for (let at = to; at > 0 && at > to - 4; at--) if ((bytes[at]! & 0xc0) !== 0x80) return at;
  return to;
}

const LF = 0x0a;
const CR = 0x0d;
