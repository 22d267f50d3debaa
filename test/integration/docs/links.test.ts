import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { slug } from '../../../tools/reference/markdown.ts';
import { repository } from '../../support/process.ts';
import { type Page, pages, prose, spans } from './pages.ts';

describe('Links of the documentation', () => {
  it('lead to what there is, down to the heading', () => {
    const links = pages.flatMap(page => linksOf(page).map(link => ({ page, link })));
    assert.ok(links.length > 500, `${links.length}`);
    const broken = links.filter(({ page, link }) => !leads(page, link));
    assert.deepEqual(
      broken.map(({ page, link }) => `${page.path}: ${link}`),
      [],
    );
  });

  it('are not needed to know that a file is there: all that are named are', () => {
    const named = pages.flatMap(page =>
      spans(page)
        .filter(isPath)
        .map(path => ({ page, path })),
    );
    assert.ok(named.length > 20);
    const missing = named.filter(
      ({ page, path }) => !['.', 'src', dirname(page.path)].some(from => existsSync(join(repository, from, path))),
    );
    assert.deepEqual(
      missing.map(({ page, path }) => `${page.path}: ${path}`),
      [],
    );
  });

  it('lead to every page', () => {
    const linked = new Set(pages.flatMap(page => linksOf(page).map(link => targetOf(page, link))));
    const orphans = pages.filter(({ path }) => path.startsWith('docs/') && !linked.has(path));
    assert.deepEqual(
      orphans.map(({ path }) => path),
      [],
    );
  });
});

function linksOf(page: Page): string[] {
  const targets = [
    ...prose(page)
      .replace(/`[^`]*`/g, '')
      .matchAll(/\]\(([^)\s]+)\)/g),
  ].map(([, target]) => target!);
  return targets.filter(target => !/^\w+:/.test(target));
}

function targetOf(page: Page, link: string): string {
  const [path] = link.split('#');
  return path ? normalize(join(dirname(page.path), path)) : page.path;
}

function leads(page: Page, link: string): boolean {
  const target = targetOf(page, link);
  const [, anchor] = link.split('#');
  if (!existsSync(join(repository, target))) return false;
  if (anchor === undefined) return true;
  const there = pages.find(({ path }) => path === target);
  return there !== undefined && anchorsOf(there).has(anchor);
}

const anchors = new Map<string, Set<string>>();

/** As GitHub makes them of headings, and those that are given. */
function anchorsOf(page: Page): Set<string> {
  const known = anchors.get(page.path);
  if (known) return known;
  const text = prose(page);
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    slug(heading!.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')),
  );
  const given = [...text.matchAll(/<a id="([^"]+)">/g)].map(([, id]) => id!);
  const all = new Set([...headings, ...given]);
  anchors.set(page.path, all);
  return all;
}

/** A path of this repository, not one of a machine or of a service. */
function isPath(span: string): boolean {
  return (
    /^\w[\w.-]*\/[\w./-]*(\/|\.(ts|py|proto|yaml|json|md))$/.test(span) && !span.startsWith('backup-management-client/')
  );
}
