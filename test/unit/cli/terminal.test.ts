import { strict as assert } from 'node:assert';
import { InvalidArgumentError } from 'commander';
import { addresses, age, duration, id, instant, later, someOf, wholeNumber } from '../../../src/cli/arguments.ts';
import { painter } from '../../../src/cli/terminal/paint.ts';
import { cut, table } from '../../../src/cli/terminal/table.ts';
import { printable } from '../../../src/cli/terminal/text.ts';
import { durationText, relative, timeText } from '../../../src/cli/terminal/times.ts';

describe('What backupctl prints', () => {
  it('does nothing to a terminal but what backupctl wants', () => {
    assert.equal(
      printable('a\u001b[2Jb\u0007\r\nc\td\u009b\u202ee\u2066\u2028\0'),
      'a\\e[2Jb\\u{7}\\r\\nc\\td\\u{9b}\\u{202e}e\\u{2066}\\u{2028}\\u{0}',
    );
    assert.equal(printable('größer 日本語 👩‍👩‍👧 \ud800'), 'größer 日本語 👩‍👩‍👧 \\u{d800}');
  });

  it('is coloured on a terminal, unless somebody says otherwise', () => {
    const isPainted = (...how: Parameters<typeof painter>) => painter(...how)('red', 'x') !== 'x';
    assert.equal(isPainted('auto', {}, true), true);
    assert.equal(isPainted('auto', {}, false), false);
    assert.equal(isPainted('auto', { TERM: 'dumb' }, true), false);
    assert.equal(isPainted('auto', { NO_COLOR: '1' }, true), false);
    assert.equal(isPainted('auto', { NO_COLOR: '1', FORCE_COLOR: '1' }, true), false);
    assert.equal(isPainted('auto', { NO_COLOR: '' }, true), true);
    assert.equal(isPainted('auto', { FORCE_COLOR: '1' }, false), true);
    assert.equal(isPainted('auto', { FORCE_COLOR: '0' }, true), false);
    assert.equal(isPainted('always', { NO_COLOR: '1' }, false), true);
    assert.equal(isPainted('never', { FORCE_COLOR: '1' }, true), false);
    assert.equal(painter('always', {}, true)(['bold', 'red'], 'x'), '\u001b[1m\u001b[31mx\u001b[39m\u001b[22m');
  });

  it('stands in columns, however wide its characters are, and whatever its colours', () => {
    const paint = painter('always', {}, true);
    const rows = [
      ['日本', '1', 'end'],
      [paint('red', 'abc'), '234', ''],
    ];
    const text = table([{ title: 'NAME' }, { title: 'N', right: true }, { title: 'LAST' }], rows);
    assert.equal(text, `NAME    N  LAST\n日本    1  end\n${paint('red', 'abc')}   234`);
  });

  it('is cut to the width of the terminal, and its colours end', () => {
    assert.equal(cut('abcdef', 6), 'abcdef');
    assert.equal(cut('abcdefg', 6), 'abcde…');
    assert.equal(cut('日本語', 4), '日…');
    const red = painter('always', {}, true)('red', 'abcdef');
    assert.equal(cut(`${red} and more`, 4), '\u001b[31mabc…\u001b[39m');
  });

  it('tells times and durations', () => {
    const time = { $typeName: 'google.protobuf.Timestamp', seconds: 1_767_321_000n, nanos: 999_000_000 } as const;
    assert.equal(timeText(time, 'iso'), '2026-01-02T02:30:00Z');
    assert.match(timeText(time, 'local'), /^2026-01-0\d \d\d:\d\d:00$/);
    assert.equal(timeText(time, 'relative', 1_767_321_000_999 + 7_500_000), '2h 5m ago');
    assert.equal(timeText(undefined, 'iso'), '-');
    assert.deepEqual([relative(500), relative(90_000), relative(-3_600_000)], ['now', 'in 1m 30s', '1h ago']);
    const durations = [0, 1, 999, 1000, 61_000, 3_599_600, 86_400_000, 90_061_000].map(durationText);
    assert.deepEqual(durations, ['0s', '1ms', '999ms', '1s', '1m 1s', '1h', '1d', '1d 1h']);
  });
});

describe('Arguments of backupctl', () => {
  const refused = (parse: () => unknown) => assert.throws(parse, InvalidArgumentError);

  it('are times, ages and durations', () => {
    assert.deepEqual(
      [duration('500ms'), duration('20d'), age('36525d'), age('90m')],
      [500, 1_728_000_000, 3_155_760_000_000, 5_400_000],
    );
    for (const bad of ['', '5', '0s', '21d', '-1s', '1.5h', '1w']) refused(() => duration(bad));
    for (const bad of ['', '5', '0s', '500ms', '36526d', '1y']) refused(() => age(bad));
    assert.equal(instant('2026-03-01T02:30Z').toISOString(), '2026-03-01T02:30:00.000Z');
    assert.equal(instant('2026-03-01 02:30:15+01:00').toISOString(), '2026-03-01T01:30:15.000Z');
    assert.equal(instant('2026-03-01').getTime(), new Date(2026, 2, 1).getTime());
    assert.ok(Math.abs(Date.now() - 7_200_000 - instant('2h').getTime()) < 1000);
    assert.ok(Math.abs(Date.now() + 7_200_000 - later('2h').getTime()) < 1000);
    for (const bad of ['', 'yesterday', '2026', '2026-13-01', '2026-03-01T25:00', '1w']) refused(() => instant(bad));
  });

  it('are addresses, numbers and words', () => {
    assert.deepEqual(addresses('a:1,[::1]:50051'), ['a:1', '[::1]:50051']);
    for (const bad of ['', 'a', ':1', 'a:', 'a:1,', 'http://a:1']) refused(() => addresses(bad));
    assert.equal(id('42'), 42n);
    for (const bad of ['', '0', '-1', '1.5', '0x1', '99999999999999999999']) refused(() => id(bad));
    assert.equal(wholeNumber(1, 5)('5'), 5);
    for (const bad of ['0', '6', '', 'x', '1e0']) refused(() => wholeNumber(1, 5)(bad));
    assert.deepEqual(someOf(['not-yet-run', 'ok'])('NOT_YET_RUN, ok', ['ok']), ['ok', 'not-yet-run', 'ok']);
    refused(() => someOf(['ok'])('ok,none'));
  });
});
