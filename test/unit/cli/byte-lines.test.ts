import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import { byteLines } from '../../../src/cli/logs/byte-lines.ts';

describe('Lines of standard input', () => {
  it('end with \\n or \\r\\n, and the last one may have no end', async () => {
    assert.deepEqual(await texts(['one\ntwo\r\n\n', 'fo', 'ur\r', '\nrest']), ['one', 'two', '', 'four', 'rest']);
    assert.deepEqual(await texts(['one\n']), ['one']);
    assert.deepEqual(await texts([]), []);
    assert.deepEqual(await texts(['\n']), ['']);
    assert.deepEqual(await texts(['a\rb\n\r\n']), ['a\rb', '']);
  });

  it('are the same however they arrive', async () => {
    const bytes = fc.array(fc.constantFrom(...Buffer.from('ab\r\n\0'), 0xc3, 0xa9, 0xff), { maxLength: 60 });
    const cuts = fc.array(fc.nat(60), { maxLength: 8 });
    const property = fc.asyncProperty(bytes, cuts, async (all, at) => {
      const whole = Buffer.from(all);
      const places = [0, ...at.map(one => Math.min(one, whole.length)).sort((a, b) => a - b), whole.length];
      const chunks = places.slice(1).map((end, i) => whole.subarray(places[i], end));
      const expected = whole.toString('latin1').split('\n');
      if (expected.at(-1) === '') expected.pop();
      const lines = await linesOf(chunks, 1000);
      const ended = expected.map((line, i) =>
        i < expected.length - 1 || whole.at(-1) === 0x0a ? line.replace(/\r$/, '') : line,
      );
      assert.deepEqual(
        lines.map(({ bytes }) => bytes.toString('latin1')),
        ended,
      );
    });
    await fc.assert(property, { numRuns: 500 });
  });

  it('come in pieces when they are too long, and nothing of them is lost', async () => {
    const lines = await linesOf(['x'.repeat(25), 'y\nshort\n'].map(Buffer.from), 10);
    assert.deepEqual(
      lines.map(({ bytes, piece }) => [String(bytes), piece]),
      [
        ['x'.repeat(10), true],
        ['x'.repeat(10), true],
        [`${'x'.repeat(5)}y`, true],
        ['short', false],
      ],
    );
    assert.deepEqual(
      await texts(['x'.repeat(10), '\r\n', 'y'.repeat(20), '\n'], 10),
      ['x', 'y', 'y'].map(c => c.repeat(10)),
    );
  });

  it('are not cut within a character', async () => {
    const text = 'a€é𝄞'.repeat(50);
    for (const most of [4, 5, 6, 7, 11]) {
      const pieces = await texts([text], most);
      assert.ok(pieces.every(piece => Buffer.byteLength(piece) <= most && !piece.includes('\ufffd')));
      assert.equal(pieces.join(''), text);
    }
  });

  it('are not held back for a line that never ends', async () => {
    let given = 0;
    const endless = async function* () {
      for (;;) {
        given++;
        yield Buffer.alloc(100, 'x');
      }
    };
    const lines = byteLines(endless(), 250);
    for (let i = 0; i < 4; i++) assert.equal((await lines.next()).value?.bytes.length, 250);
    assert.ok(given <= 11, `${given} chunks were taken for 1000 bytes`);
  });
});

async function texts(chunks: string[], most = 1000): Promise<string[]> {
  return (await linesOf(chunks.map(Buffer.from), most)).map(({ bytes }) => bytes.toString());
}

async function linesOf(chunks: Buffer[], most: number) {
  const stream = async function* () {
    yield* chunks;
  };
  return Array.fromAsync(byteLines(stream(), most));
}
