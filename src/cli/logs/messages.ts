import { pieces } from './byte-lines.ts';

/** What a log can hold of a line: nearly always one message. `mended`: it had NUL or bytes that are not UTF-8, which are shown by others. */
export function messagesOf(line: Buffer, most: number): { messages: string[]; mended: boolean } {
  const text = line.toString();
  // What is not UTF-8 becomes U+FFFD, which may be in the line itself, too.
  const mended = text.includes('\0') || (text.includes('\ufffd') && !Buffer.from(text).equals(line));
  if (!mended) return { messages: [text], mended };
  // What stands for a byte has three.
  const messages = [...pieces(Buffer.from(text.replaceAll('\0', '\u2400')), most)].map(piece => piece.toString());
  return { messages, mended };
}
