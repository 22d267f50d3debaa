import { strict as assert } from 'node:assert';
import { create } from '@bufbuild/protobuf';
import { TailPosition } from '../../src/client/tail-position.ts';
import { TailLogsResponseSchema } from '../../src/gen/backup/v1/log_pb.ts';

type Event = Parameters<TailPosition['passed']>[0];

describe('The position of a tail', () => {
  it('is the last token, as long as every event has one', () => {
    const position = new TailPosition();
    for (const event of [started('A'), entries('x', [1, 2], 'B')]) position.passed(event);
    assert.equal(position.resumeToken, 'B');
  });

  it('leaves out what has passed without a token, over any number of streams, until all is told again', () => {
    const position = new TailPosition();
    for (const event of [started('A'), entries('x', [1, 2]), entries('y', [7])]) position.passed(event);
    position.passed(started('A'));
    // The logs may come in another order now, with more in them, and a token before all of them have come.
    const told = [entries('z', [1], 'B'), entries('y', [7, 8], 'C'), entries('x', [1, 2]), entries('x', [3])];
    const fresh = told.map(event => {
      const left = idsOf(position.fresh(event));
      position.passed(event);
      return left;
    });
    assert.deepEqual(fresh, [[1n], [8n], [], [3n]]);
    position.passed(create(TailLogsResponseSchema, { event: { case: 'caughtUp', value: { resumeToken: 'D' } } }).event);
    assert.equal(position.resumeToken, 'D');
  });

  it('survives as text', () => {
    const first = new TailPosition();
    for (const event of [started('A'), entries('x', [5]), started('A'), entries('y', [9])]) first.passed(event);
    const second = new TailPosition(first.resumeToken);
    assert.equal(second.token, 'A');
    second.passed(started('A'));
    assert.deepEqual(idsOf(second.fresh(entries('x', [5, 6]))), [6n]);
    assert.deepEqual(idsOf(second.fresh(entries('y', [9]))), []);
    assert.equal(new TailPosition(second.resumeToken).resumeToken, first.resumeToken);
  });
});

function started(resumeToken: string): Event {
  return create(TailLogsResponseSchema, { event: { case: 'started', value: { resumeToken } } }).event;
}

function entries(backupId: string, ids: number[], resumeToken = ''): Event {
  const value = { backupId, entries: ids.map(id => ({ id: BigInt(id) })), resumeToken };
  return create(TailLogsResponseSchema, { event: { case: 'entries', value } }).event;
}

function idsOf(event: Event | undefined): bigint[] {
  return event?.case === 'entries' ? event.value.entries.map(({ id }) => id) : [];
}
