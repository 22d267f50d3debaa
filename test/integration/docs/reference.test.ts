import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { repository, run } from '../../support/process.ts';
import { pages } from './pages.ts';

describe('The reference', () => {
  it('is what npm run reference writes', async () => {
    await using checking = run('node', ['tools/reference.ts', '--check']);
    assert.equal(await checking.exit(), 0, checking.output());
    assert.ok(readdirSync(join(repository, 'docs/reference')).length >= 9);
  });

  it('says something about everything: no comment is missing', () => {
    const silent = pages
      .filter(({ path }) => path.startsWith('docs/reference/'))
      .flatMap(({ path, text }) => text.split('\n').map(line => ({ path, line })))
      .filter(
        ({ line }) =>
          /^\|.*\| *\|$/.test(line) && !/^\| (field|value|name|method|command|option|argument|reason) \|/.test(line),
      );
    // Of errors the last column says which methods name them, and some are named by none; a backup id as an argument is one.
    const wanting = silent.filter(
      ({ path, line }) => path !== 'docs/reference/errors.md' && !/^\| `<backup ids?>` \|/.test(line),
    );
    assert.deepEqual(
      wanting.map(({ path, line }) => `${path}: ${line}`),
      [],
    );
  });
});
