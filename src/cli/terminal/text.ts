/** Foreign text on one line of a terminal: what would move the cursor, colour, ring or turn the direction of writing is shown instead of done. */
export function printable(text: string): string {
  return text.replace(UNSAFE, escaped);
}

/** The same, and its lines stay lines. */
export function printableLines(text: string): string {
  return text.replace(/\r\n/g, '\n').split('\n').map(printable).join('\n');
}

// C0, DEL and C1; marks and overrides of direction; line and paragraph separators; halves of surrogates.
const UNSAFE = /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}\p{Surrogate}]/gu;

function escaped(character: string): string {
  const known: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\u001b': '\\e' };
  return known[character] ?? `\\u{${character.codePointAt(0)!.toString(16)}}`;
}
