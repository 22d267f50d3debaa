import { strict as assert } from 'node:assert';
import { Marks } from '../../src/db/standby/marks.ts';
import { lackOf, type Mark } from '../../src/db/standby/position.ts';
import { eventually } from '../support/eventually.ts';

const history = { database: '1/2', timeline: '00000001' };

/** A primary that answers when it is let. */
function primary() {
  const asked: ((flushed: bigint, timeline?: string) => void)[] = [];
  const marks = new Marks(() => {
    const at = performance.now();
    return new Promise<Mark>(resolve =>
      asked.push((flushed, timeline = history.timeline) => resolve({ ...history, timeline, at, flushed })),
    );
  });
  const answer = async (flushed: bigint, timeline?: string) =>
    (await eventually(() => asked.shift() ?? assert.fail('was not asked')))(flushed, timeline);
  return { asked, marks, answer };
}

describe('Marks of the primary', () => {
  it('are asked for once by all who wait, and never taken from a question that was sent before', async () => {
    const { asked, marks, answer } = primary();
    const first = marks.now();
    await eventually(() => assert.equal(asked.length, 1));
    const began = performance.now();
    const others = [marks.now(), marks.now(), marks.since(performance.now())];
    await new Promise(setImmediate);
    assert.equal(asked.length, 1, 'one question at a time');
    await answer(1n);
    assert.equal((await first).flushed, 1n);
    await answer(2n);
    const found = await Promise.all(others);
    assert.deepEqual(
      found.map(({ flushed }) => flushed),
      [2n, 2n, 2n],
    );
    assert.ok(found.every(({ at }) => at >= began));
    assert.equal(asked.length, 0);
  });

  it('are used again by those whom one of then is enough, the oldest one first', async () => {
    const { asked, marks, answer } = primary();
    const start = performance.now();
    for (const flushed of [10n, 20n, 30n]) {
      const before = performance.now();
      await eventually(() => assert.ok(performance.now() > before + 60));
      const mark = marks.now();
      await answer(flushed);
      await mark;
    }
    assert.equal((await marks.since(start)).flushed, 10n);
    const second = await marks.since((await marks.since(start)).at + 1);
    assert.equal(second.flushed, 20n);
    assert.equal(asked.length, 0);
    assert.equal(marks.reachedAt(29n), second.at);
    assert.equal(marks.reachedAt(9n), undefined);
    const after = marks.now();
    await answer(5n, '00000002');
    await after;
    assert.equal((await marks.since(start)).flushed, 5n, 'those before a failover are forgotten');
  });

  it('are asked for again when the primary did not answer', async () => {
    let calls = 0;
    const marks = new Marks(async () => {
      if (++calls === 1) throw new Error('away');
      return { ...history, at: performance.now(), flushed: 1n };
    });
    await assert.rejects(marks.now(), /away/);
    assert.equal((await marks.now()).flushed, 1n);
  });
});

describe('A position of a server', () => {
  const mark = { ...history, at: 0, flushed: 100n };
  const position = { ...history, standby: true, replayed: 100n };
  for (const [what, found, lack] of [
    ['has what was flushed', position, undefined],
    ['is behind by a byte', { ...position, replayed: 99n }, 'BEHIND'],
    ['is further in the history before a failover', { ...position, replayed: 1000n, timeline: '00000000' }, 'FOREIGN'],
    ['is of another database', { ...position, database: '1/3' }, 'FOREIGN'],
    ['is that of a primary', { ...position, standby: false }, 'PROMOTED'],
  ] as const)
    it(`${what}: ${lack ?? 'it is read from'}`, () => assert.equal(lackOf(found, mark), lack));
});
