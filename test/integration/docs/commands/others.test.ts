import assert from 'node:assert/strict';
import { EXPECTED, LEFT_OUT } from '../expected.ts';
import { pages } from '../pages.ts';
import { allCommands, commandsIn, enterAll, entered, GROUPS } from './commands.ts';

const elsewhere = Object.values(GROUPS).flat();

describe('Commands of the documentation', () => {
  it('are all known: no expectation is about a command that is gone', () => {
    for (const [path, expected] of Object.entries(EXPECTED)) {
      const { blocks = [] } = pages.find(page => page.path === path) ?? {};
      const commands = blocks.flatMap(commandsIn);
      for (const [command] of expected)
        assert.ok(
          commands.some(one => command.test(one)),
          `${path}: ${command}`,
        );
    }
    const all = allCommands();
    for (const [command] of LEFT_OUT)
      assert.ok(
        all.some(one => command.test(one)),
        String(command),
      );
  });

  it('are there where other files enter them', () => {
    const paths = new Set(entered.map(({ path }) => path));
    assert.deepEqual(
      elsewhere.filter(path => !paths.has(path)),
      [],
    );
  });

  enterAll(entered.map(({ path }) => path).filter(path => !elsewhere.includes(path)));
});
