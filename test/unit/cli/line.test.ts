import { strict as assert } from 'node:assert';
import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { LineWriter, type Look } from '../../../src/cli/logs/line.ts';
import { ShortIds } from '../../../src/cli/logs/short-ids.ts';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { LogEntrySchema } from '../../../src/gen/backup/v1/log_pb.ts';

const plain: Look = { paint: (_, text) => text, time: undefined, ids: false, named: false };

describe('A line of a log', () => {
  it('has the time, the level and the message', () => {
    const lines = new LineWriter({ ...plain, time: time => time.toISOString() });
    assert.equal(lines.textOf(id('a'), entry('Hello')), '2026-11-26T02:30:00.123Z INFO  Hello\n');
    assert.equal(new LineWriter(plain).textOf(id('a'), entry('Hello', LogLevel.WARNING)), 'WARN  Hello\n');
    assert.equal(new LineWriter(plain).textOf(id('a'), entry('', 33 as LogLevel)), '33    \n');
  });

  it('says which backup it is of when there are several, as briefly as possible', () => {
    const lines = new LineWriter({ ...plain, named: true });
    assert.equal(lines.textOf(id('a'), entry('one\ntwo')), 'aaaaaaaa INFO  one\naaaaaaaa     │ two\n');
    assert.equal(lines.noteOf(id('b'), 'gone'), 'bbbbbbbb -- gone\n');
  });

  it('continues a message of several lines so that none looks like an entry', () => {
    const lines = new LineWriter(plain).textOf(id('a'), entry('one\nERROR two\r\n\n\tthree'));
    assert.equal(lines, 'INFO  one\n    │ ERROR two\n    │ \n    │ \tthree\n');
  });

  it('does not do what a message says to a terminal', () => {
    const evil = entry('a\x1b]0;title\x07b\x1b[2Jc\rd\u202ee\x9bf\0g\u2028h');
    const line = new LineWriter(plain).textOf(id('a'), evil);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
    assert.doesNotMatch(line, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]/);
    assert.equal(line, 'INFO  a\\e]0;title\\u{7}b\\e[2Jc\\rd\\u{202e}e\\u{9b}f\\u{0}g\\u{2028}h\n');
  });

  it('is coloured by its level, and its backup by who it is', () => {
    const lines = new LineWriter({
      paint: (inks, text) => `<${inks}:${text}>`,
      time: undefined,
      ids: true,
      named: true,
    });
    assert.equal(
      lines.textOf(id('a'), entry('x', LogLevel.ERROR)),
      '<cyan:aaaaaaaa> <dim:     1 ><bold,red:ERROR> <:x>\n',
    );
    assert.match(lines.textOf(id('b'), entry('x')), /^<magenta:bbbbbbbb> /);
    assert.match(lines.textOf(id('a'), entry('x')), /^<cyan:aaaaaaaa> /);
  });
});

describe('Short names of backups', () => {
  it('are 8 digits, and more where two begin alike', () => {
    const ids = new ShortIds();
    const [a, b, c] = [id('a'), `${'a'.repeat(10)}${'b'.repeat(22)}`, `${'a'.repeat(10)}${'c'.repeat(22)}`];
    assert.deepEqual(
      [a, b, c, a, b].map(one => ids.of(one)),
      ['aaaaaaaa', 'aaaaaaaaa', 'aaaaaaaaaa', 'aaaaaaaa', 'aaaaaaaaa'],
    );
  });
});

function entry(message: string, level: LogLevel = LogLevel.INFO) {
  const createTime = timestampFromDate(new Date('2026-11-26T02:30:00.123Z'));
  return create(LogEntrySchema, { id: 1n, level, message, createTime });
}

function id(digit: string): string {
  return digit.repeat(32);
}
