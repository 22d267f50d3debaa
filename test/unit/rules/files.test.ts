import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const protos = join(import.meta.dirname, '../../../proto/backup/v1');

describe('The files with rules', () => {
  it('have a test each', () => {
    const ruled = readdirSync(protos).filter(file =>
      /\(buf\.validate\./.test(readFileSync(join(protos, file), 'utf8')),
    );
    assert.ok(ruled.length > 0);
    const tested = (file: string) => existsSync(join(import.meta.dirname, `${basename(file, '.proto')}.test.ts`));
    assert.deepEqual(
      ruled.filter(file => !tested(file)),
      [],
    );
  });
});
