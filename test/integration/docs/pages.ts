import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repository } from '../../support/process.ts';

/** A fenced block of a page. */
export type Block = { page: string; line: number; language: string; text: string };

export type Page = { path: string; text: string; blocks: Block[] };

const FENCE = /^```(.*)\n([\s\S]*?)^```$/gm;

const WHERE = ['README.md', 'CONTRIBUTING.md', 'docs/**/*.md', 'examples/**/*.md', 'src/client/README.md'];

/** Everything that people read. What others have put into node_modules folders is not among it. */
export const pages: Page[] = globSync(WHERE, { cwd: repository, exclude: ['**/node_modules/**'] })
  .toSorted()
  .map(pageAt);

export function pageAt(path: string): Page {
  const text = readFileSync(join(repository, path), 'utf8');
  const blocks = [...text.matchAll(FENCE)].map(({ 1: language, 2: block, index }) => ({
    page: path,
    line: text.slice(0, index).split('\n').length,
    language: language!.trim(),
    text: block!,
  }));
  return { path, text, blocks };
}

/** The commands of a block for a shell, as a reader would enter them one by one: comments are gone, continued lines and quotes are one. */
export function commandsOf({ text }: Block): string[] {
  const commands: string[] = [];
  let open = '';
  for (const line of text.split('\n')) {
    open = open ? `${open}\n${line}` : line;
    if (isOpen(open)) continue;
    commands.push(open.replace(/(^|\s)#(?![^']*').*$/, '').trim());
    open = '';
  }
  if (open) throw new Error(`this command does not end: ${open}`);
  return commands.filter(command => command !== '');
}

/** Whether the line goes on: behind a backslash, or between quotes. */
function isOpen(command: string): boolean {
  const quotes = command.replace(/"[^"]*"/g, '').split("'").length - 1;
  return command.endsWith('\\') || quotes % 2 === 1;
}

/** A page without its blocks, as paragraphs are read. */
export function prose({ text }: Page): string {
  return text.replace(FENCE, '');
}

/** What stands in code font between the blocks. */
export function spans(page: Page): string[] {
  return [...prose(page).matchAll(/`([^`]+)`/g)].map(([, code]) => code!);
}

/** The cells of the table below a heading, without its head. */
export function table(page: Page, heading: string): string[][] {
  const section = page.text.split(/^#+ /m).find(text => text.startsWith(`${heading}\n`));
  if (section === undefined) throw new Error(`${page.path} has no heading ${heading}`);
  const rows = section.split('\n').filter(line => line.startsWith('|'));
  return rows.slice(2).map(row =>
    row
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map(cell => cell.trim()),
  );
}
