/** The text as a log can hold it: without NUL, as UTF-8 can write it, and no longer than a MiB of that. */
export function legible(text: string): string {
  const clean = text.replaceAll('\0', '\u2400').toWellFormed();
  // A character of UTF-16 takes three bytes at most.
  if (clean.length * 3 <= MOST_BYTES || Buffer.byteLength(clean) <= MOST_BYTES) return clean;
  const bytes = Buffer.from(clean).subarray(0, MOST_BYTES - MARK.length);
  // What was cut through is a replacement character now.
  return bytes.toString().replace(/\uFFFD$/, '') + MARK;
}

const MOST_BYTES = 1024 * 1024;
const MARK = ' (cut)';
