import { strict as assert } from 'node:assert';
import { Status } from '../../src/controller/lifecycle.ts';
import { View } from '../../src/watch/view.ts';
import { Watcher } from '../../src/watch/watcher.ts';

/** A view of a filter with a watcher that has been told everything. */
function watched(...backupIds: string[]) {
  const view = new View({ key: '', ids: undefined, conditions: {}, checkpoint: at => Buffer.from(`@${at}`) });
  const watcher = new Watcher(view, () => {});
  const put = (backupId: string, version?: string) =>
    view.put(
      backupId,
      version === undefined
        ? undefined
        : { version, status: Status.CREATED, updatedAt: 0, bytes: Buffer.from(`${backupId}${version} `) },
    );
  for (const backupId of backupIds) put(backupId, '1');
  view.watchers.add(watcher);
  view.complete(1, []);
  watcher.begin();
  const take = (most = 200) => {
    const part = watcher.take(most);
    return part && `${Buffer.concat(part.states)}-${part.removed} ${part.checkpoint ?? '...'}`;
  };
  return { view, watcher, put, take };
}

describe('A watcher', () => {
  it('is told the latest state only, and each once', () => {
    const { put, take } = watched('a', 'b');
    put('a', '2');
    put('b', '2');
    put('a', '3');
    assert.equal(take(), 'a3 b2 - @1');
    assert.equal(take(), undefined);
  });

  it('is told nothing of what came and went before it was told of it, but of all else that went', () => {
    const { put, take } = watched('a', 'b', 'c');
    put('new', '1');
    put('a', '2');
    for (const gone of ['new', 'a', 'b']) put(gone);
    put('c');
    put('c', '9');
    assert.equal(take(), 'c9 -a,b @1');
    put('new', '2');
    assert.equal(take(), 'new2 - @1');
    put('new');
    assert.equal(take(), '-new @1');
  });

  it('is told the same of a first state that changes while it is being told', () => {
    const { put, take, watcher } = watched('a', 'b', 'c', 'd');
    watcher.tellAll();
    assert.equal(take(1), 'a1 - ...');
    put('a'); // told already
    put('b'); // not told yet
    put('c', '2');
    assert.equal(take(1), 'c2 - ...');
    assert.equal(take(1), 'd1 - @1');
    assert.equal(take(1), '-a @1');
    assert.equal(take(1), undefined);
  });

  it('gets the checkpoint of a round also when what was left of it has gone', () => {
    const { put, take, watcher } = watched('a', 'b');
    watcher.tellAll();
    assert.equal(take(1), 'a1 - ...');
    put('b');
    assert.equal(take(1), '- @1');
    assert.equal(take(1), undefined);
  });

  it('gets a checkpoint after every round, however much changes meanwhile, and never one of a look that came later', () => {
    const { view, put, take, watcher } = watched('a', 'b', 'c');
    watcher.tellAll();
    assert.equal(take(1), 'a1 - ...');
    put('a', '2');
    view.complete(2, []);
    assert.equal(take(1), 'b1 - ...');
    put('b', '2');
    assert.equal(take(1), 'c1 - @1');
    put('c', '2');
    assert.equal(take(2), 'a2 b2 - ...');
    assert.equal(take(2), 'c2 - @2');
  });
});
