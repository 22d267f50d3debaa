import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { connect } from '../../../src/client/main.ts';
import { past, plan } from '../../../tools/pictures/night.ts';
import { startBackend } from '../../support/backend.ts';
import { repository, run } from '../../support/process.ts';
import { pages } from './pages.ts';

const pictures = new Map(
  globSync('docs/pictures/*.txt', { cwd: repository }).map(path => [
    basename(path, '.txt'),
    readFileSync(join(repository, path), 'utf8'),
  ]),
);

describe('Pictures of the command line', () => {
  it('stand in the pages as npm run pictures has put them there', () => {
    const places = pages.flatMap(({ path, text }) =>
      [...text.matchAll(/<!-- picture: (\w+) -->\n```text\n([\s\S]*?)```\n/g)].map(([, name, block]) => ({
        path,
        name: name!,
        block: block!,
      })),
    );
    assert.ok(places.length >= 3);
    for (const { path, name, block } of places) assert.equal(block, pictures.get(name), `${path}: ${name}`);
  });

  it('show what is shown today', async () => {
    await using backend = await startBackend();
    using service = connect(backend.address);
    await plan(service);
    await past(service);
    for (const name of ['report', 'summary']) {
      const [command = '', ...taken] = pictures.get(name)!.trimEnd().split('\n');
      const args = command.replace('$ npm run cli -- ', '').split(' ');
      await using now = run('node', ['src/cli/main.ts', ...args], { BACKUPCTL_ADDRESS: backend.address });
      assert.equal(await now.exit(), 0, now.output());
      assert.deepEqual(labelsOf(taken), labelsOf(now.output().trimEnd().split('\n')), now.output());
    }
  });
});

/** The names of columns and of rows: what does not change with what there is. */
function labelsOf(lines: string[]): string[] {
  return lines.flatMap(line => {
    if (/^COURSE /.test(line)) return line.trim().split(/ {2,}/);
    return /^([a-z][\w ,]*?) {2,}/.exec(line)?.[1] ?? [];
  });
}
