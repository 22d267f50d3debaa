import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { backupctl } from '../../support/backupctl.ts';
import { repository } from '../../support/process.ts';

describe('backupctl completion', () => {
  // A process for every command, and several processors' worth of other tests beside it.
  let folder: string;
  let env: Record<string, string>;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'backupctl-'));
    const program = join(folder, 'backupctl');
    writeFileSync(
      program,
      `#!/bin/sh\nexec '${process.execPath}' '${join(repository, 'src/cli/backupctl.ts')}' "$@"\n`,
    );
    chmodSync(program, 0o755);
    writeFileSync(join(folder, 'completion.bash'), (await backupctl(['completion', 'bash'])).stdout);
    writeFileSync(join(folder, 'config.yaml'), 'contexts: { production: {}, staging: {}, private: {} }');
    env = {
      PATH: [folder, process.env['PATH']].join(delimiter),
      HOME: folder,
      BACKUPCTL_CONFIG: join(folder, 'config.yaml'),
    };
  });
  after(() => rmSync(folder, { recursive: true }));

  const shell = (name: string, args: string[]) => {
    const { status, stdout, stderr, error } = spawnSync(name, args, { env, cwd: folder, encoding: 'utf8' });
    if (error) throw error;
    assert.equal(status, 0, stderr);
    return stdout.split('\n').filter(line => line !== '');
  };
  /** What bash offers for the last word, as its own `complete` has it. */
  const inBash = (...words: string[]) =>
    shell('bash', [
      '--norc',
      '-c',
      `source completion.bash
       complete -p backupctl >/dev/null || exit 9
       COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
       _backupctl && printf '%s\\n' "\${COMPREPLY[@]}"`,
      'bash',
      'backupctl',
      ...words,
    ]);

  it('offers commands, options and values in bash', () => {
    assert.deepEqual(inBash('cour'), ['courses']);
    assert.deepEqual(inBash('courses', 'r'), ['report', 'run']);
    assert.deepEqual(inBash('-o', 'json', 'courses', 's'), ['skip', 'schedule']);
    assert.deepEqual(inBash('courses', 'report', '--fail'), ['--failing-since']);
    assert.deepEqual(inBash('courses', 'report', '--output', ''), ['table', 'json', 'yaml']);
    assert.deepEqual(inBash('courses', 'report', '--status', 'error,w'), ['error,warning']);
    assert.deepEqual(inBash('completion', ''), ['bash', 'zsh', 'fish']);
    assert.deepEqual(inBash('summary', '--context', 'pr'), ['production', 'private']);
    // Files are bash's own matter.
    assert.deepEqual(inBash('summary', '--tls-ca', ''), []);
  });

  it('offers the same in zsh and fish, with what it is', async () => {
    for (const name of ['zsh', 'fish']) {
      const script = await backupctl(['completion', name]);
      assert.equal(script.code, 0);
      writeFileSync(join(folder, `completion.${name}`), script.stdout);
      if (spawnSync(name, ['--version']).error) {
        console.log(`      ${name} is not installed here: this is left out`);
        continue;
      }
      if (name === 'fish') {
        const lines = shell('fish', [
          '--no-config',
          '-c',
          `source completion.fish; complete -C 'backupctl courses re'`,
        ]);
        assert.deepEqual(lines, ['report\thow the last backup of every course went, what has to be looked at first']);
      } else {
        const offer = `_describe() { print -l -- "\${found[@]}" }; compdef() { :; }; _files() { print files }
          source completion.zsh; words=(backupctl courses re); CURRENT=3; _backupctl`;
        assert.deepEqual(shell('zsh', ['-f', '-c', offer]), [
          'report:how the last backup of every course went, what has to be looked at first',
        ]);
      }
    }
  });

  it('knows no other shell', async () => {
    const { code, stderr } = await backupctl(['completion', 'tcsh']);
    assert.equal(code, 2);
    assert.match(stderr, /Allowed choices are bash, zsh, fish/);
  });
});
