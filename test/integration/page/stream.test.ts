import { strict as assert } from 'node:assert';
import { LogLevel } from '../../../src/gen/backup/v1/entry_pb.ts';
import { type Backend, type Replica, startBackend } from '../../support/backend.ts';
import { EventReader } from '../../support/events.ts';
import { eventually } from '../../support/eventually.ts';
import { ask, pageOf, restart, withPage } from '../../support/page.ts';
import { append, newBackup, newBackupId } from '../../support/writing.ts';
import { claimOne, course, finish } from '../automation/automation.ts';

describe('The live streams of the status page', () => {
  let backend: Backend;
  let page: string;
  const begin = async (settings: Record<string, string> = {}) => {
    backend = await startBackend({ settings: { ...withPage, ...settings } });
    page = pageOf(backend);
  };
  afterEach(() => backend[Symbol.asyncDispose]());

  it('tell the last lines of a log, then every new one, at a level or a more important one', async () => {
    await begin();
    const backupId = newBackupId();
    await append(backend, backupId, ['an error'], LogLevel.ERROR);
    await append(backend, backupId, ['a detail'], LogLevel.DEBUG);
    using all = await EventReader.open(page, `/lines?backup=${backupId}`);
    using warnings = await EventReader.open(page, `/lines?backup=${backupId}&level=warning`);
    await Promise.all([all.told('caughtUp'), warnings.told('caughtUp')]);
    await append(backend, backupId, ['some news'], LogLevel.INFO);
    await append(backend, backupId, ['a warning'], LogLevel.WARNING);
    await eventually(() => assert.deepEqual(all.messages, ['an error', 'a detail', 'some news', 'a warning']));
    await eventually(() => assert.deepEqual(warnings.messages, ['an error', 'a warning']));
    assert.equal(all.entries.at(-1)!.level, 'LOG_LEVEL_WARNING');
    // The token is the event's id and nowhere else.
    assert.ok(all.events.every(({ data }) => !JSON.stringify(data).includes('resumeToken')));
  });

  it('tell the last 500 lines of a log that is longer, and long ones shortened', async () => {
    await begin();
    const backupId = newBackupId();
    await append(backend, backupId, [...Array.from({ length: 600 }, (_, i) => `line ${i}`), '🎈'.repeat(100_000)]);
    using reader = await EventReader.open(page, `/lines?backup=${backupId}`);
    await reader.told('caughtUp');
    assert.deepEqual([reader.messages.length, reader.messages[0]], [500, 'line 101']);
    assert.equal(reader.messages.at(-1), `${'🎈'.repeat(2000)} … (200,000 characters)`);
  });

  it('tell of all backups what they have logged lately, and a new one as soon as it logs', async () => {
    await begin();
    const known = newBackupId();
    await append(backend, known, ['lately']);
    await backend.logs.appendLogs({
      backupId: newBackupId(),
      entries: [{ level: LogLevel.INFO, message: 'long ago', createTime: { seconds: 1n } }],
    });
    using reader = await EventReader.open(page, '/lines');
    await reader.told('caughtUp');
    await append(backend, newBackupId(), ['first of a new one']);
    await eventually(() => assert.deepEqual(reader.messages, ['lately', 'first of a new one']));
  });

  it('go on behind the last event over a restart, nothing lost or doubled', async () => {
    await begin();
    const logs = [newBackupId(), newBackupId(), newBackupId()];
    let written = 0;
    const write = async (replica: Pick<Replica, 'logs'>) => {
      for (const backupId of logs) await append(replica, backupId, [`line ${written++}`]);
    };
    const readers = ['/lines', `/lines?backup=${logs[0]}`].map(path => ({ path, seen: [] as string[], id: '' }));
    let replica = backend.replicas[0]!;
    for (let life = 0; life < 3; life++) {
      const streams = await Promise.all(readers.map(({ path, id }) => EventReader.open(page, path, id)));
      await Promise.all(streams.map(stream => stream.told('caughtUp')));
      for (let i = 0; i < 5; i++) await write(replica);
      await eventually(() => assert.ok(streams.every(stream => stream.messages.includes(`line ${written - 3}`))));
      // Some of it may still be under way to the reader of all: what it gets twice then it knows by ids, and leaves out.
      await write(replica);
      await replica[Symbol.asyncDispose]();
      await Promise.all(streams.map(stream => stream.closed));
      for (const [i, stream] of streams.entries()) {
        readers[i]!.seen.push(...fresh(readers[i]!, stream));
        readers[i]!.id = stream.lastEventId;
        assert.ok(readers[i]!.id);
      }
      replica = await restart(backend, page);
      await write(replica);
    }
    const last = await Promise.all(readers.map(({ path, id }) => EventReader.open(page, path, id)));
    await Promise.all(last.map(stream => stream.told('caughtUp')));
    const [everything, one] = readers.map((reader, i) => [...reader.seen, ...fresh(reader, last[i]!)]);
    const ids = (backupId: string) => Array.from({ length: written / 3 }, (_, i) => `${backupId} ${i + 1}`);
    assert.deepEqual(one, ids(logs[0]!));
    for (const backupId of logs)
      assert.deepEqual(
        everything!.filter(key => key.startsWith(backupId)),
        ids(backupId),
      );
    for (const stream of last) stream[Symbol.dispose]();
    await replica[Symbol.asyncDispose]();
  });

  it('go on with `resume` in the address as well, for pages that open a stream anew', async () => {
    await begin();
    const backupId = newBackupId();
    await append(backend, backupId, ['one']);
    using first = await EventReader.open(page, `/lines?backup=${backupId}`);
    await first.told('caughtUp');
    const { lastEventId } = first;
    await append(backend, backupId, ['two']);
    using second = await EventReader.open(page, `/lines?backup=${backupId}&resume=${lastEventId}`);
    await eventually(() => assert.deepEqual(second.messages, ['two']));
  });

  it('go on with tokens that are longer than headers usually may be', async () => {
    await begin();
    const logs = Array.from({ length: 600 }, newBackupId);
    using first = await EventReader.open(page, '/lines');
    await first.told('caughtUp');
    await Promise.all(logs.map(backupId => append(backend, backupId, ['one'])));
    await eventually(() => {
      assert.equal(first.messages.length, 600);
      assert.ok(first.lastEventId.length > 20_000, `${first.lastEventId.length} characters`);
    });
    const { lastEventId, messages } = first;
    first[Symbol.dispose]();
    await append(backend, logs[7]!, ['two']);
    using second = await EventReader.open(page, '/lines', lastEventId);
    await second.told('caughtUp');
    assert.equal(messages.length, 600);
    assert.ok(second.messages.includes('two'));
    assert.ok(second.messages.length < 600, 'all is told again');
  });

  it('say so when a token is not theirs, or the address is wrong', async () => {
    await begin();
    const reason = async (path: string, id = '') => {
      using reader = await EventReader.open(page, path, id);
      await reader.closed;
      const { event, data } = reader.events.at(-1)!;
      return [event, data['reason']];
    };
    assert.deepEqual(await reason('/lines', 'nonsense'), ['refused', 'RESUME_TOKEN_INVALID']);
    assert.deepEqual(await reason('/runs', 'nonsense'), ['refused', 'RESUME_TOKEN_INVALID']);
    assert.deepEqual(await reason('/lines?backup=nonsense'), ['refused', 'INVALID_FIELD']);
  });

  it('tell the runs that are executing, each change of them, and which are no more', async () => {
    await begin();
    const claimed = await claimOne(backend, await course(backend));
    const { backupId } = claimed.controller!;
    await newBackup(backend);
    using reader = await EventReader.open(page, '/runs');
    const told = () => reader.events.flatMap(({ data }) => (data['controllers'] ?? []) as Record<string, unknown>[]);
    await eventually(() =>
      assert.deepEqual(
        told().map(one => [one['backupId'], one['status']]),
        [[backupId, 'STATUS_EXECUTING']],
      ),
    );
    assert.equal(reader.events[0]!.data['reset'], true);
    const { leaseToken } = claimed;
    await backend.controllers.reportProgress({ reports: [{ backupId, leaseToken, progress: 0.25 }] });
    await eventually(() => assert.equal(told().at(-1)!['progress'], 0.25));
    const { lastEventId } = reader;
    await finish(backend, claimed);
    await eventually(() => assert.deepEqual(reader.events.at(-1)!.data['removedBackupIds'], [backupId]));
    // Who was away is told just that.
    using again = await EventReader.open(page, '/runs', lastEventId);
    await eventually(() =>
      assert.ok(again.events.some(({ data }) => `${data['removedBackupIds']}`.includes(backupId))),
    );
    assert.ok(again.events.every(({ data }) => data['reset'] === undefined));
    const ended = JSON.parse((await ask(page, `/ended?backup=${backupId}`)).text);
    assert.equal(ended.controllers[0].outcome, 'OUTCOME_SUCCEEDED');
  });

  it('count as streams, are refused above the limit, and give their places back', async () => {
    await begin({ MAX_STREAMS: '2' });
    using first = await EventReader.open(page, '/lines');
    using second = await EventReader.open(page, '/runs');
    await Promise.all([first.told('caughtUp'), eventually(() => assert.ok(second.lastEventId))]);
    assert.equal(backend.app.admission.streams, 2);
    using third = await EventReader.open(page, '/lines');
    await third.closed;
    assert.deepEqual(
      third.events.map(({ event, data }) => [event, data['reason']]),
      [['refused', 'TOO_MANY_STREAMS']],
    );
    assert.ok(Number(third.retry) >= 500);
    assert.equal(backend.app.admission.refused.get('streams of replica'), 1);
    first[Symbol.dispose]();
    await eventually(() => assert.equal(backend.app.admission.streams, 1));
  });

  it('end with DRAINING at the shutdown, which does not wait for browsers', async () => {
    await begin({ SHUTDOWN_GRACE: '60s' });
    const backupId = newBackupId();
    await append(backend, backupId, ['one']);
    using lines = await EventReader.open(page, `/lines?backup=${backupId}`);
    using runs = await EventReader.open(page, '/runs');
    using stalled = await EventReader.open(page, '/lines');
    await Promise.all([
      lines.told('caughtUp'),
      eventually(() => assert.ok(runs.lastEventId)),
      stalled.told('caughtUp'),
    ]);
    stalled.response.pause();
    const began = performance.now();
    await backend.replicas[0]![Symbol.asyncDispose]();
    assert.ok(performance.now() - began < 20_000, 'the shutdown has waited');
    await Promise.all([lines.closed, runs.closed]);
    for (const { events } of [lines, runs]) {
      const [end, refused] = events.slice(-2);
      assert.deepEqual((end!.data['end'] as { reason: string }).reason, 'REASON_DRAINING');
      assert.deepEqual([refused!.event, refused!.data['reason']], ['refused', 'DRAINING']);
    }
  });

  it('wait for a browser that does not read, and end when it takes too long; it comes back and has lost nothing', async () => {
    await begin({ WRITE_TIMEOUT: '4s' });
    const backupId = newBackupId();
    using stalled = await EventReader.open(page, `/lines?backup=${backupId}`);
    using quick = await EventReader.open(page, `/lines?backup=${backupId}`);
    await Promise.all([stalled.told('caughtUp'), quick.told('caughtUp')]);
    stalled.response.pause();
    const text = 'x'.repeat(3000);
    for (let i = 0; i < 10; i++) await append(backend, backupId, Array(1000).fill(text));
    await eventually(() => assert.equal(quick.messages.length, 10_000));
    await eventually(() => assert.equal(backend.app.admission.streams, 1));
    stalled.response.resume();
    await stalled.closed;
    assert.ok(stalled.messages.length < 10_000);
    using again = await EventReader.open(page, `/lines?backup=${backupId}`, stalled.lastEventId);
    await again.told('caughtUp');
    const keys = [...stalled.entries, ...again.entries].map(({ key }) => key);
    assert.deepEqual(
      keys,
      Array.from({ length: 10_000 }, (_, i) => `${backupId} ${i + 1}`),
    );
  });

  it('are slowed by a browser that stops for a while, and then go on', async () => {
    await begin();
    const backupId = newBackupId();
    using slow = await EventReader.open(page, `/lines?backup=${backupId}`);
    await slow.told('caughtUp');
    slow.response.pause();
    for (let i = 0; i < 8; i++) await append(backend, backupId, Array(1000).fill('x'.repeat(3000)));
    const before = slow.messages.length;
    assert.ok(before < 8000);
    slow.response.resume();
    await eventually(() => assert.equal(slow.messages.length, 8000));
    assert.ok(
      slow.events.some(({ data }) => 'fellBehind' in data),
      'it was not told that it was behind',
    );
  });
});

/** What a stream has told that its reader had not got before. Of one log nothing is told twice, of all of them only what came behind the last token. */
function fresh({ path, seen }: { path: string; seen: string[] }, { entries }: EventReader): string[] {
  const again = entries.filter(({ key }) => seen.includes(key));
  if (path !== '/lines') assert.deepEqual(again, []);
  assert.ok(
    again.every(({ key }) => !key.endsWith(' 1')),
    'all is told again',
  );
  return entries.map(({ key }) => key).filter(key => !seen.includes(key));
}
