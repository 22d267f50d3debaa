import { strict as assert } from 'node:assert';
import { Ledger, Tally } from '../../src/cli/canary/ledger.ts';

const MISSING_AFTER = 30_000;
const HOUR = 3_600_000;

describe("The canary's ledger", () => {
  let tally: Tally;
  let ledger: Ledger;
  beforeEach(() => {
    tally = new Tally();
    ledger = new Ledger([tally], 0n, { lateMs: 1000, missingAfterMs: MISSING_AFTER, observe() {} });
    ledger.readers[0]!.openSince = 0;
  });

  it('remembers the entries of the last while, however long it is kept', () => {
    for (let now = 0; now < HOUR; now += 1000) {
      write(now / 1000, now);
      ledger.delivered(ledger.readers[0]!, now / 1000, BigInt(now / 1000 + 1), now + 1);
      ledger.judge(now + 1);
      assert.ok(ledger.size <= MISSING_AFTER / 1000 + 1);
    }
    assert.deepEqual([tally.delivered, tally.missing], [3600, 0]);
    ledger.judge(2 * HOUR);
    assert.equal(ledger.size, 0);
  });

  it('knows what is doubled although it has forgotten it', () => {
    write(1, 0);
    ledger.delivered(ledger.readers[0]!, 1, 1n, 1);
    ledger.judge(HOUR);
    ledger.delivered(ledger.readers[0]!, 1, 1n, HOUR);
    assert.deepEqual([ledger.size, tally.delivered, tally.duplicate], [0, 1, 1]);
  });

  it('counts as missing what has not come in time, once, and what comes after that as late', () => {
    write(1, 0);
    ledger.judge(MISSING_AFTER - 1);
    assert.deepEqual([tally.missing, ledger.owed], [0, true]);
    ledger.judge(MISSING_AFTER);
    ledger.judge(MISSING_AFTER + 1);
    assert.deepEqual([tally.missing, ledger.owed, ledger.size], [1, false, 0]);
    ledger.delivered(ledger.readers[0]!, 1, 1n, MISSING_AFTER + 2);
    assert.deepEqual({ ...tally }, { ...new Tally(), latency: tally.latency, missing: 1, late: 1 });
  });

  it('gives a replica that was away its time from its return on, and waits for an hour', () => {
    const [reader] = ledger.readers;
    reader!.openSince = undefined;
    write(1, 0);
    ledger.judge(HOUR / 2);
    reader!.openSince = HOUR / 2;
    ledger.judge(HOUR / 2 + MISSING_AFTER - 1);
    assert.equal(tally.missing, 0);
    ledger.judge(HOUR / 2 + MISSING_AFTER);
    assert.equal(tally.missing, 1);
    reader!.openSince = undefined;
    write(2, HOUR);
    ledger.judge(2 * HOUR);
    assert.equal(tally.missing, 1);
    ledger.judge(2 * HOUR + MISSING_AFTER);
    assert.deepEqual([tally.missing, ledger.size], [2, 0]);
  });

  it('does not count what was never acknowledged, whether it is delivered or not', () => {
    ledger.began(1);
    ledger.delivered(ledger.readers[0]!, 1, 1n, 5);
    ledger.began(2);
    ledger.judge(HOUR, true);
    assert.deepEqual([tally.delivered, tally.missing, ledger.owed], [0, 0, false]);
    ledger.acknowledged(1, HOUR);
    assert.deepEqual([tally.delivered, tally.late], [1, 0]);
  });

  function write(number: number, now: number): void {
    ledger.began(number);
    ledger.acknowledged(number, now);
  }
});
