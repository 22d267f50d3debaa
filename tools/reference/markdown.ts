/** A table; cells are Markdown of one paragraph or more. Nothing at all when it has no rows. */
export function table(head: string[], rows: string[][]): string {
  if (rows.length === 0) return '';
  const lines = [head, head.map(() => '---'), ...rows.map(row => row.map(cell))];
  return lines.map(cells => `| ${cells.join(' | ')} |`).join('\n');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').trim().replace(/\n\n+/g, '<br>').replaceAll('\n', ' ');
}

/** The name under which a heading can be linked to. */
export function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-');
}

export function paragraphs(...all: (string | undefined)[]): string {
  return all.filter(Boolean).join('\n\n');
}

/** The first sentence of a text. */
export function firstSentence(text: string): string {
  return /^[\s\S]*?[.:](?=\s|$)/.exec(text)?.[0].replace(/:$/, '.') ?? text;
}
