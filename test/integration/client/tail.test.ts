import { strict as assert } from 'node:assert';
import { connect, type Interruption, LogLevel, RpcError, type Tail, type TailEvent } from '../../../src/client/main.ts';
import { startBackend, startReplica } from '../../support/backend.ts';
import { Cable } from '../../support/cable.ts';
import { eventually } from '../../support/eventually.ts';
import { append, finish, newBackup, newBackupId, writeAll } from '../../support/writing.ts';

type Seen = { backupId: string; id: bigint; message: string };

describe('tail() of the client library', () => {
  it('ends after what is there, or goes on until the runs have finished', async () => {
    await using backend = await startBackend();
    using service = connect(backend.address);
    const backupId = await newBackup(backend);
    await append(backend, backupId, ['one', 'two'], LogLevel.WARNING);
    await append(backend, backupId, ['details'], LogLevel.DEBUG);
    const there = await all(service.tail({ backupIds: [backupId], maxLevel: LogLevel.INFO }));
    assert.deepEqual(messages(there), ['one', 'two']);
    assert.equal(there.at(-1)!.case, 'end');
    assert.deepEqual(messages(await all(service.tail({ backupIds: [backupId], start: { last: 1 } }))), ['details']);
    assert.deepEqual(messages(await all(service.tail({ backupIds: [backupId], start: { afterId: 1n } }))), [
      'two',
      'details',
    ]);
    const whole = all(service.tail({ backupIds: [backupId], untilFinished: true }));
    await append(backend, backupId, ['three']);
    await finish(backend, backupId);
    assert.deepEqual(messages(await whole), ['one', 'two', 'details', 'three']);
  });

  for (const [which, what] of [
    ['of a log', (backupIds: string[]) => ({ backupIds })],
    ['of everything', () => ({ everything: true })],
  ] as const) {
    it(`${which} tells each entry once and in order while replicas restart and connections break`, async () => {
      await using backend = await startBackend({ replicas: 2, settings: { TAIL_POLL: '100ms' } });
      const [lasting, first] = backend.replicas;
      await using cable = await Cable.start(new URL(`http://${lasting!.address}`));
      const address = `ipv4:${first!.address},127.0.0.1:${cable.port}`;
      using service = connect({ address, keepaliveMs: 200 });
      const stop = new AbortController();
      const why: string[] = [];
      const onReconnect = ({ reason }: Interruption) => why.push(reason);
      const backupIds = [newBackupId(), newBackupId()];
      const tail = service.tail({ ...what(backupIds), follow: true, signal: stop.signal, onReconnect });
      const seen: Seen[] = [];
      const reading = collect(tail, seen).catch(error => error);
      const writing = Promise.all(backupIds.map(id => writeAll([lasting!], id, 'line', 200, 3)));
      await eventually(() => assert.ok(seen.length > 50));
      await first!.app[Symbol.asyncDispose]();
      await eventually(() => assert.ok(why.length > 0 && cable.connections > 0));
      for (const count of [300, 500, 700]) {
        await eventually(() => assert.ok(seen.length >= count));
        cable.cut();
      }
      await eventually(() => assert.ok(seen.length >= 900));
      cable.freeze();
      await writing;
      await eventually(() => assert.ok(seen.length >= 1200));
      stop.abort(new Error('enough'));
      assert.equal((await reading).message, 'enough');
      assert.ok(why.length >= 5, why.join());
      for (const backupId of backupIds) {
        const got = seen.filter(entry => entry.backupId === backupId);
        assert.deepEqual(
          got.map(({ id, message }) => [id, message]),
          Array.from({ length: 600 }, (_, i) => [BigInt(i + 1), `line ${i}`]),
        );
      }
    });
  }

  it('goes on where another one was, by its token, without what was dealt with and with what was not', async () => {
    await using backend = await startBackend();
    using service = connect(backend.address);
    const ids = [newBackupId(), newBackupId(), newBackupId()];
    for (const id of ids) await append(backend, id, ['a', 'b']);
    for (const which of [{ backupIds: ids }, { everything: true }]) {
      let resumeToken: string | undefined;
      const seen: string[] = [];
      // Each tail deals with one event and leaves in the middle of the second one.
      for (let left = 10; left > 0 && seen.length < 6; left--) {
        const tail = service.tail({ ...which, follow: true, ...(resumeToken && { start: { resumeToken } }) });
        let dealt: Seen[] = [];
        for await (const event of tail) {
          seen.push(...dealt.map(({ backupId, id }) => `${backupId} ${id}`));
          resumeToken = tail.resumeToken;
          if (dealt.length > 0) break;
          dealt = entriesOf(event);
        }
      }
      assert.deepEqual(seen.toSorted(), ids.flatMap(id => [`${id} 1`, `${id} 2`]).toSorted());
    }
  });

  it('says when a log was deleted, and goes on with the others', async () => {
    await using backend = await startBackend();
    using service = connect(backend.address);
    const [gone, stays] = [await newBackup(backend), await newBackup(backend)];
    const told: TailEvent[] = [];
    const done = (async () => {
      for await (const event of service.tail({ backupIds: [gone, stays], untilFinished: true })) told.push(event);
    })();
    await eventually(() => assert.ok(told.some(event => event.case === 'caughtUp')));
    await backend.controllers.deleteController({ backupId: gone });
    await eventually(() => assert.ok(told.some(event => event.case === 'end' && event.value.backupId === gone)));
    await append(backend, stays, ['still here']);
    await finish(backend, stays);
    await done;
    assert.deepEqual(messages(told), ['still here']);
  });

  it('gives up when the service is away for longer than its patience, and at once when it is refused', async () => {
    const backend = await startBackend();
    using service = connect(backend.address);
    const signal = AbortSignal.timeout(30_000);
    await assert.rejects(all(service.tail({ backupIds: ['x'], signal })), (error: RpcError) => {
      assert.ok(error instanceof RpcError);
      assert.deepEqual([error.reason, error.fields[0]!.field], ['INVALID_FIELD', 'backup_ids[0]']);
      return true;
    });
    const why: string[] = [];
    const onReconnect = ({ reason }: Interruption) => why.push(reason);
    const following = service.tail({ everything: true, follow: true, patienceMs: 1000, signal, onReconnect });
    const reading = all(following).catch(error => error);
    await eventually(() => assert.ok(following.resumeToken));
    await backend[Symbol.asyncDispose]();
    const error = await reading;
    assert.ok(error instanceof RpcError && error.passing, String(error));
    assert.deepEqual(why[0], 'DRAINING');
  });

  it('waits for a service that is not there yet', async () => {
    await using backend = await startBackend();
    const port = backend.address.split(':')[1]!;
    await backend.app[Symbol.asyncDispose]();
    using service = connect(backend.address);
    const backupId = newBackupId();
    const why: string[] = [];
    const seen: Seen[] = [];
    const tail = service.tail({ backupIds: [backupId], follow: true, onReconnect: ({ reason }) => why.push(reason) });
    const reading = collect(tail, seen).catch(error => error);
    await eventually(() => assert.ok(why.length > 1));
    await using replica = await startReplica(backend.database.url, { LISTEN: `127.0.0.1:${port}` });
    await append(replica, backupId, ['good morning']);
    await eventually(() =>
      assert.deepEqual(
        seen.map(({ message }) => message),
        ['good morning'],
      ),
    );
    service.close();
    assert.ok(
      (await Promise.race([reading, eventually(() => assert.fail('open'), 100).catch(() => 'open')])) !== undefined,
    );
  });
});

async function collect(tail: Tail, seen: Seen[]): Promise<void> {
  for await (const event of tail) seen.push(...entriesOf(event));
}

async function all(tail: Tail): Promise<TailEvent[]> {
  const told: TailEvent[] = [];
  for await (const event of tail) told.push(event);
  return told;
}

function entriesOf(event: TailEvent): Seen[] {
  if (event.case !== 'entries') return [];
  const { backupId, entries } = event.value;
  return entries.map(({ id, message }) => ({ backupId, id, message }));
}

function messages(events: TailEvent[]): string[] {
  return events.flatMap(entriesOf).map(({ message }) => message);
}
