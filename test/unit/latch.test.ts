import { strict as assert } from 'node:assert';
import { Latch } from '../../src/latch.ts';

const never = new AbortController().signal;

describe('Latch', () => {
  it('does not wait when it was set before', async () => {
    const latch = new Latch();
    latch.set();
    await latch.wait(60_000, never);
    await latch.wait(60_000, never);
  });

  it('waits again once it is cleared', async () => {
    const latch = new Latch();
    latch.set();
    latch.clear();
    const began = performance.now();
    await latch.wait(20, never);
    assert.ok(performance.now() - began >= 19);
  });

  it('wakes a waiter when it is set, when the time is over and when the signal is aborted', async () => {
    const latch = new Latch();
    const set = latch.wait(60_000, never);
    latch.set();
    await set;
    latch.clear();
    await latch.wait(1, never);
    const abort = new AbortController();
    const aborted = latch.wait(60_000, abort.signal);
    abort.abort();
    await aborted;
    await latch.wait(60_000, abort.signal);
  });
});
