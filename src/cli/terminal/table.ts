import stringWidth from 'string-width';

export type Column = { title: string; right?: boolean };

/**
 * Cells in columns with two spaces between them; colours and wide characters count as wide as they are. The last column may be cut to fit
 * `width`, so that no row takes two lines.
 */
export function table(columns: Column[], rows: string[][], width = Number.POSITIVE_INFINITY): string {
  const all = [columns.map(({ title }) => title), ...rows];
  const widths = columns.map((_, i) => Math.max(...all.map(row => stringWidth(row[i] ?? ''))));
  return all
    .map(row => {
      const cells = columns.map(({ right }, i) => pad(row[i] ?? '', widths[i]!, right));
      return cut(cells.join('  ').trimEnd(), width);
    })
    .join('\n');
}

export function pad(cell: string, width: number, right = false): string {
  const room = ' '.repeat(Math.max(0, width - stringWidth(cell)));
  return right ? room + cell : cell + room;
}

/** At most so many columns of the terminal, with an ellipsis in place of the rest. Sequences of colours are kept, so that none stays switched on. */
export function cut(line: string, width: number): string {
  if (stringWidth(line) <= width) return line;
  let room = width - 1;
  let kept = '';
  let isFull = false;
  for (const [part, sequence] of line.matchAll(PARTS)) {
    if (sequence) kept += part;
    else if (!isFull) {
      for (const { segment } of new Intl.Segmenter().segment(part)) {
        room -= stringWidth(segment);
        isFull = room < 0;
        if (isFull) break;
        kept += segment;
      }
      if (isFull) kept += '…';
    }
  }
  return kept;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: sequences of colours begin with one
const PARTS = /(\u001b\[[\d;]*m)|[^\u001b]+/g;
