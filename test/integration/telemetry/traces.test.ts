import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { type Replica, startReplica } from '../../support/backend.ts';
import { type Collector, type Spanned, startCollector } from '../../support/collector.ts';
import { createDatabase, type Database, engine } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { locked } from '../../support/locked.ts';
import { append, newBackup, newBackupId } from '../../support/writing.ts';

const [SERVER, CLIENT] = [2, 3];

describe('Traces', () => {
  let database: Database;
  let collector: Collector;
  beforeEach(async () => {
    database = await createDatabase();
    collector = await startCollector();
  });
  afterEach(async () => {
    await collector[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  /** Does something on a replica that traces, and returns the spans of all of it. */
  const traced = async (
    work: (replica: Replica) => Promise<unknown>,
    { ratio = '0', log = pino({ level: 'silent' }) } = {},
  ): Promise<Spanned[]> => {
    const settings = { TRACES_ENDPOINT: collector.endpoint, TRACES_RATIO: ratio };
    await using replica = await startReplica(database.url, settings, log);
    await work(replica);
    await replica[Symbol.asyncDispose]();
    return collector.spans;
  };

  it('have a span for the call below that of the caller, and one for each of its own statements below that', async () => {
    const parent = sampled();
    const backupId = newBackupId();
    const spans = await traced(async replica => {
      await newBackup(replica, backupId);
      await replica.controllers.cancelController({ backupId, reason: 'a secret' }, parent.options);
    });
    const [call, ...others] = spans.filter(({ kind }) => kind === SERVER);
    assert.deepEqual(others, [], 'a call that nobody wanted to be traced was traced');
    const { name, traceId, parentSpanId, attributes } = call!;
    assert.deepEqual(
      { name, traceId, parentSpanId },
      { name: 'backup.v1.ControllerService/CancelController', traceId: parent.traceId, parentSpanId: parent.spanId },
    );
    assert.equal(attributes['rpc.system.name'], 'grpc');
    assert.equal(attributes['rpc.method'], name);
    assert.equal(attributes['rpc.status_code'], 'OK');
    const statements = spans.filter(({ kind }) => kind === CLIENT);
    assert.equal(statements.length, spans.length - 1);
    for (const { traceId, parentSpanId, attributes, name } of statements) {
      assert.deepEqual({ traceId, parentSpanId }, { traceId: call!.traceId, parentSpanId: call!.spanId }, name);
      assert.equal(attributes['db.system.name'], 'postgresql');
      assert.equal(attributes['db.query.summary'], name);
    }
    const names = statements.map(({ name }) => name);
    assert.equal(names.at(0), 'begin');
    assert.equal(names.at(-1), 'commit');
    assert.ok(names.includes('select backup_controllers') && names.includes('update backup_controllers'), `${names}`);
    const all = JSON.stringify(spans);
    assert.ok(!all.includes('a secret') && !all.includes(backupId), 'a value of a statement is in its span');
    assert.equal(collector.resources[0]!['service.name'], 'backup-management');
  });

  it('are as many as the ratio says, of calls whose caller has not decided, and what a caller has decided holds', async () => {
    const not = sampled('00');
    const count = async (ratio: string, options = {}) => {
      collector.spans.length = 0;
      await traced(
        async ({ controllers }) => {
          // At the same time, so that they share statements.
          const calls = Array.from({ length: 60 }, () =>
            controllers.getController({ backupId: newBackupId() }, options),
          );
          await Promise.allSettled(calls);
        },
        { ratio },
      );
      return collector.spans.filter(({ kind }) => kind === SERVER).length;
    };
    assert.deepEqual([await count('0'), await count('1')], [0, 60]);
    await count('1', not.options);
    assert.deepEqual(collector.spans, []);
    const half = await count('0.5');
    // Less likely than one in a billion.
    assert.ok(half > 6 && half < 54, `${half}`);
  });

  it('go along with a commit that several calls share: a trace of its own that they and it point to', async () => {
    const callers = Array.from({ length: 6 }, (_, i) => (i < 4 ? sampled() : sampled('00')));
    const backupId = newBackupId();
    const spans = await traced(async replica => {
      await append(replica, backupId, ['its head is there']);
      let appending: Promise<unknown>[];
      {
        await using lock = await locked(
          database,
          `select from backup_log_heads where backupid = '${backupId}' for update`,
        );
        const send = ({ options }: { options: object }) =>
          replica.logs.appendLogs({ backupId, entries: [{ level: 30, message: 'x' }] }, options);
        appending = [append(replica, backupId, ['waits for the lock'])];
        await lock.waited();
        appending.push(...callers.map(send));
        // They are in the queue behind it when this one was told of them.
        await eventually(() => assert.equal(replica.app.admission.calls, 7));
      }
      await Promise.all(appending);
    });
    const [together, ...more] = spans.filter(({ name }) => name === 'append together');
    assert.deepEqual(more, []);
    assert.equal(together!.attributes['backup.batch.calls'], 6);
    assert.equal(together!.parentSpanId, undefined);
    const calls = spans.filter(({ kind }) => kind === SERVER);
    assert.deepEqual(
      calls.map(({ traceId }) => traceId).sort(),
      callers
        .slice(0, 4)
        .map(({ traceId }) => traceId)
        .sort(),
    );
    const places = (links: { traceId: string; spanId: string }[]) =>
      links.map(link => `${link.traceId} ${link.spanId}`);
    assert.deepEqual(places(together!.links).sort(), places(calls).sort());
    for (const { links } of calls) assert.deepEqual(places(links), places([together!]));
    const statements = spans.filter(({ kind }) => kind === CLIENT);
    assert.deepEqual(
      statements.map(({ name, parentSpanId }) => [name, parentSpanId]),
      [[engine === 'citus' ? 'append-apart' : 'append-free', together!.spanId]],
    );
  });

  it('say what went wrong: the reason of a refusal, and an error where it is the fault of the server', async () => {
    const [refused, late] = [sampled(), sampled()];
    const backupId = newBackupId();
    const spans = await traced(async replica => {
      await newBackup(replica, backupId);
      await assert.rejects(replica.controllers.getController({ backupId: newBackupId() }, refused.options));
      await using _lock = await locked(database, 'select from backup_controllers for update');
      await assert.rejects(replica.controllers.cancelController({ backupId }, { ...late.options, timeoutMs: 300 }));
    });
    const call = (of: { traceId: string }) =>
      spans.find(({ kind, traceId }) => kind === SERVER && traceId === of.traceId)!;
    assert.deepEqual(
      [call(refused), call(late)].map(({ attributes, status }) => [
        attributes['rpc.status_code'],
        attributes['error.type'],
        status.code ?? 0,
      ]),
      [
        ['NOT_FOUND', 'CONTROLLER_NOT_FOUND', 0],
        ['DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED', 2],
      ],
    );
  });

  it('are found from the log: the line of a call has its trace and its span', async () => {
    const lines: Record<string, unknown>[] = [];
    const sink = new Writable({
      write(line, _, done) {
        lines.push(JSON.parse(String(line)));
        done();
      },
    });
    const [parent, unsampled] = [sampled(), sampled('00')];
    const spans = await traced(
      async ({ health }) => {
        await health.check({}, parent.options);
        await health.check({}, unsampled.options);
      },
      { log: pino({ level: 'info' }, sink) },
    );
    const calls = lines.filter(({ msg }) => msg === 'call');
    const [call] = spans.filter(({ kind }) => kind === SERVER);
    assert.deepEqual([calls[0]!['trace_id'], calls[0]!['span_id']], [parent.traceId, call!.spanId]);
    assert.equal(calls[1]!['trace_id'], unsampled.traceId);
    assert.deepEqual([calls[0]!['method'], calls[0]!['code']], ['grpc.health.v1.Health/Check', 'OK']);
  });

  it('do not keep a replica whose receiver is away, neither from answering nor from ending', async () => {
    const away = await startCollector();
    const settings = { TRACES_ENDPOINT: away.endpoint, TRACES_RATIO: '1' };
    await away[Symbol.asyncDispose]();
    const replica = await startReplica(database.url, settings);
    await newBackup(replica);
    const began = performance.now();
    await replica[Symbol.asyncDispose]();
    assert.ok(performance.now() - began < 9000);
  });

  it('are not made, nor does the log speak of them, without a place to go to', async () => {
    const lines: string[] = [];
    const sink = new Writable({
      write(line, _, done) {
        lines.push(String(line));
        done();
      },
    });
    await using replica = await startReplica(database.url, { TRACES_RATIO: '1' }, pino({ level: 'info' }, sink));
    await replica.health.check({}, sampled().options);
    await eventually(() => assert.ok(lines.some(line => line.includes('Health/Check'))));
    assert.ok(!lines.join().includes('trace_id'));
    assert.deepEqual(collector.spans, []);
  });
});

/** A caller with a span of its own, and how it says so; `flags` are those of W3C, 01 is sampled. */
function sampled(flags = '01') {
  const traceId = randomBytes(16).toString('hex');
  const spanId = randomBytes(8).toString('hex');
  return { traceId, spanId, options: { metadata: { traceparent: `00-${traceId}-${spanId}-${flags}` } } };
}
