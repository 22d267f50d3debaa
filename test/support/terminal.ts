/**
 * What a terminal of so many columns and rows shows after this output, line by line, what has scrolled away included; without colours. It knows what
 * progress bars send, and refuses what else there is.
 */
export function terminalAfter(output: string, { columns, rows }: { columns: number; rows: number }): string[] {
  const lines: string[][] = [[]];
  let [row, column, wraps] = [0, 0, true];
  const top = () => Math.max(0, lines.length - rows);
  const put = (character: string) => {
    if (column >= columns) {
      if (!wraps) column = columns - 1;
      else down();
    }
    const line = lines[row]!;
    while (line.length < column) line.push(' ');
    line[column++] = character;
  };
  const down = () => {
    row++;
    column = 0;
    if (row === lines.length) lines.push([]);
  };
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a terminal is controlled by them
  for (const [part, parameters, command] of output.matchAll(/\u001b\[([?\d;]*)([A-Za-z])|\r|\n|[^\u001b]/gu)) {
    const count = Number(parameters || 1);
    if (part === '\r') column = 0;
    else if (part === '\n') down();
    else if (!command) put(part);
    else if (command === 'A') row = Math.max(top(), row - count);
    else if (command === 'G') column = count - 1;
    else if (command === 'K' && parameters === '2') lines[row] = [];
    else if (command === 'K') lines[row]!.length = Math.min(lines[row]!.length, column);
    else if (command === 'J') {
      lines[row]!.length = Math.min(lines[row]!.length, column);
      for (const line of lines.slice(row + 1)) line.length = 0;
    } else if (parameters === '?7') wraps = command === 'h';
    else if (command !== 'm' && parameters !== '?25') throw new Error(`unknown: ESC [${parameters}${command}`);
  }
  return lines.map(line => line.join('').trimEnd());
}
