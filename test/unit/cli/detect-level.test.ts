import { strict as assert } from 'node:assert';
import { levelDetector } from '../../../src/cli/logs/detect-level.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';

const { ERROR, WARNING, INFO, DEBUG } = LogLevel;

describe('The level of a line', () => {
  const lines: [string, LogLevel][] = [
    ['ERROR cannot open the archive', ERROR],
    ['[error] cannot open the archive', ERROR],
    ['Error: cannot open the archive', ERROR],
    ['FATAL:  the database is away', ERROR],
    ['2026-11-26T02:30:00.123Z WARN low on space', WARNING],
    ['2026-11-26 02:30:00 [17] WARNING: low on space', WARNING],
    ['(debug) 12 rows', DEBUG],
    ['TRACE enter', DEBUG],
    ['INFO started', INFO],
    ['level unknown', INFO],
    ['Error handling was tested', INFO],
    ['errors: 0', INFO],
    ['warned ERROR', INFO],
    ['no errors, ERROR count 0', INFO],
    ['', INFO],
  ];
  for (const [line, level] of lines)
    it(`is known of ${JSON.stringify(line)}`, () => assert.equal(levelDetector(INFO)(line), level));

  it('is that of the line before when it begins with white space, as in a stack trace', () => {
    const detect = levelDetector(DEBUG);
    const levels = ['ERROR: broken', '\tat open (file.ts:1)', '    at main', 'next', '  more'].map(detect);
    assert.deepEqual(levels, [ERROR, ERROR, ERROR, DEBUG, DEBUG]);
  });

  it('is found in no time, whatever the line', () => {
    const began = performance.now();
    levelDetector(INFO)('['.repeat(1_000_000));
    levelDetector(INFO)(`${' '.repeat(1_000_000)}x`);
    assert.ok(performance.now() - began < 5000);
  });
});
