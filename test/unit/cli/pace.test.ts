import { strict as assert } from 'node:assert';
import { Pace } from '../../../src/cli/controllers/pace.ts';

describe('The pace of a run', () => {
  it('is unknown before there is anything to compare', () => {
    const pace = new Pace();
    assert.equal(pace.rate(0), undefined);
    pace.record(0.5, 1000);
    assert.equal(pace.rate(2000), undefined);
    assert.equal(pace.remaining(2000), undefined);
  });

  it('is known from its start as soon as it is looked at', () => {
    const pace = new Pace();
    pace.record(0.25, 10_000);
    assert.equal(pace.remaining(10_000, 0), 30_000);
  });

  it('is what was done in the last minute, not on average', () => {
    const pace = new Pace();
    for (let second = 0; second <= 100; second++) pace.record(second * 0.001, second * 1000);
    for (let second = 101; second <= 180; second++) pace.record(0.1 + (second - 100) * 0.01, second * 1000);
    assert.ok(close(pace.rate(180_000)! * 1000, 0.01));
    assert.ok(close(pace.remaining(180_000)!, 10_000));
  });

  it('counts down between reports, and grows when a report is overdue', () => {
    const pace = new Pace();
    for (let i = 0; i <= 5; i++) pace.record(i * 0.1, i * 10_000);
    assert.ok(close(pace.remaining(50_000)!, 50_000));
    assert.ok(close(pace.remaining(55_000)!, 45_000));
    assert.ok(pace.remaining(150_000)! > 50_000);
    assert.ok(pace.rate(150_000)! < pace.rate(55_000)!);
  });

  it('begins anew with a progress that is smaller', () => {
    const pace = new Pace();
    pace.record(0, 0);
    pace.record(0.8, 1000);
    pace.record(0.1, 2000);
    assert.equal(pace.rate(2000), undefined);
    pace.record(0.2, 12_000);
    assert.ok(close(pace.rate(12_000)! * 10_000, 0.1));
  });

  it('never says that less than nothing is left', () => {
    const pace = new Pace();
    pace.record(0.5, 0);
    pace.record(0.99, 1000);
    assert.ok(pace.remaining(1900)! >= 0);
    pace.record(1, 2000);
    assert.equal(pace.remaining(2000), 0);
  });

  it('keeps no more than it needs of a long run', () => {
    const pace = new Pace();
    for (let i = 0; i < 1_000_000; i++) pace.record(i / 1_000_000, i * 10);
    assert.ok(close(pace.rate(10_000_000)! * 10, 1e-6));
  });
});

function close(a: number, b: number): boolean {
  return Math.abs(a - b) <= Math.abs(b) * 0.02;
}
