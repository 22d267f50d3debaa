import { strict as assert } from 'node:assert';
import { setTimeout as delay } from 'node:timers/promises';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { ErrorReason, StatusError } from '../../src/errors.ts';
import {
  type LogEntry,
  LogEntrySchema,
  LogService,
  TailEnd_Reason,
  type TailLogsRequest,
  type TailLogsResponseSchema,
} from '../../src/gen/backup/v1/log_pb.ts';
import { type Backend, startBackend, startReplica } from '../support/backend.ts';
import { createDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { type Running, ready, run } from '../support/process.ts';
import { startToy } from '../support/toy.ts';
import { append, newBackupId } from '../support/writing.ts';

describe('The canary', () => {
  describe('beside two healthy replicas', () => {
    let backend: Backend;
    before(async () => {
      backend = await startBackend({ replicas: 2 });
    });
    after(() => backend[Symbol.asyncDispose]());

    it('writes through one after another, and every one delivers everything', async () => {
      await using canary = watch(addressesOf(backend), ['--rate', '50']);
      for (const address of addressesOf(backend)) await eventually(() => assert.ok(deliveredBy(address, canary) > 10));
      canary.child.kill('SIGINT');
      const { ok, written, replicas } = await endOf(canary, 0);
      assert.ok(ok);
      const [one, other] = replicas;
      assert.ok(Math.abs(one!.written - other!.written) <= 1, 'not in turn');
      assert.equal(one!.written + other!.written, written);
      for (const { delivered, missing, duplicate, outOfOrder, latencyMs } of replicas) {
        assert.deepEqual({ delivered, missing, duplicate, outOfOrder }, { delivered: written, ...none });
        assert.ok(latencyMs.p50 > 0 && latencyMs.p50 <= latencyMs.p99 && latencyMs.p99 <= latencyMs.max);
      }
    });

    it('touches no controller and no course, says in each entry what it is, and leaves nothing behind', async () => {
      await using canary = watch(addressesOf(backend), ['--rate', '50']);
      await eventually(() => saysDelivered(canary));
      for (const table of ['backup_controllers', 'backup_courses']) {
        assert.deepEqual(await backend.database.query(`select from ${table}`), []);
      }
      const others = "select backupid, message from backup_logs where message not like 'canary ________: entry %'";
      assert.deepEqual(await backend.database.query(others), []);
      assert.deepEqual(await backend.database.query("select from backup_logs where backupid not like 'ca9a%'"), []);
      canary.child.kill('SIGINT');
      await endOf(canary, 0);
      for (const table of ['backup_logs', 'backup_log_heads', 'backup_log_requests'])
        assert.deepEqual(await backend.database.query(`select from ${table} where backupid like 'ca9a%'`), [], table);
    });

    it('writes to a log that is given, from its end on, and is not confused by what others write there', async () => {
      const backupId = newBackupId();
      const others = ['a line', 'canary 12345678: entry 1, written to see that it is delivered'];
      await append(backend, backupId, others);
      await using canary = watch(addressesOf(backend), ['--rate', '50', '--backup-id', backupId]);
      await eventually(() => saysDelivered(canary));
      await append(backend, backupId, others);
      canary.child.kill('SIGINT');
      const { written } = await endOf(canary, 0);
      const sql = 'select count(*)::int as n from backup_logs where backupid = $1';
      assert.deepEqual(await backend.database.query(sql, [backupId]), [{ n: written + 4 }]);
    });

    it('goes on in a new log from time to time, and loses nothing of the one before', async () => {
      await using canary = watch(addressesOf(backend), ['--rate', '100', '--rotate', '150ms']);
      const logs = new Set<unknown>();
      while (logs.size < 5)
        for (const { id } of await backend.database.query('select backupid as id from backup_log_heads')) logs.add(id);
      canary.child.kill('SIGINT');
      const { written, replicas } = await endOf(canary, 0);
      assert.deepEqual(
        replicas.map(({ delivered }) => delivered),
        [written, written],
      );
    });

    it('says now and then how it goes, serves that as metrics, and ends with its summary on SIGINT', async () => {
      await using canary = watch(addressesOf(backend), ['--rate', '50', '--metrics-port', '0', '--output', 'text']);
      const url = await eventually(() => canary.output().match(/served on (\S+)/)?.[1] ?? assert.fail(canary.output()));
      const [address] = addressesOf(backend);
      const text = await eventually(async () => {
        const metrics = await (await fetch(url)).text();
        assert.match(metrics, new RegExp(`backup_canary_delivered_total{replica="${address}"} [1-9]`));
        return metrics;
      });
      for (const name of ['missing', 'duplicate', 'out_of_order', 'late'])
        assert.match(text, new RegExp(`^backup_canary_${name}_total{replica="${address}"} \\d+$`, 'm'));
      assert.match(text, new RegExp(`backup_canary_latency_seconds_count{replica="${address}"} [1-9]`));
      assert.equal((await fetch(url.replace('/metrics', '/'))).status, 404);
      await eventually(() => saysDelivered(canary));
      canary.child.kill('SIGINT');
      assert.equal(await canary.exit(), 0);
      assert.match(canary.output(), new RegExp(`^${address}: written \\d+, delivered \\d+, missing 0,`, 'm'));
    });
  });

  it('raises no alarm when a replica is killed, comes back, and both are away for a time', async () => {
    await using database = await createDatabase();
    const settings = { DATABASE_URL: database.url, SERVICE_LOG: 'silent' };
    await using one = run('node', ['src/main.ts'], { ...settings, LISTEN: '127.0.0.1:0' });
    await using other = run('node', ['src/main.ts'], { ...settings, LISTEN: '127.0.0.1:0' });
    const addresses = [await ready(one), await ready(other)];
    await using canary = watch(addresses, ['--rate', '50', '--missing-after', '15s']);
    await eventually(() => saysDelivered(canary));
    for (const service of [one, other]) {
      service.child.kill('SIGKILL');
      await service.exit();
    }
    await eventually(() => assert.match(canary.output(), /writing does not work/));
    const again = addresses.map(LISTEN => run('node', ['src/main.ts'], { ...settings, LISTEN }));
    await using _one = again[0]!;
    await using _other = again[1]!;
    await eventually(() => assert.match(canary.output(), /writing works again/));
    for (const address of addresses)
      await eventually(() => assert.ok(canary.output().includes(`the tail through ${address} works again`)));
    canary.child.kill('SIGTERM');
    const { written, replicas } = await endOf(canary, 0);
    for (const { delivered, missing, duplicate, outOfOrder } of replicas)
      assert.deepEqual({ delivered, missing, duplicate, outOfOrder }, { delivered: written, ...none });
    for (const { child, exit } of again) {
      child.kill('SIGTERM');
      await exit();
    }
  });

  it('does not call lost what a replica owes that is away, before the end', async () => {
    await using database = await createDatabase();
    await using here = await startReplica(database.url);
    const away = await startReplica(database.url);
    await using canary = watch([here.address, away.address], ['--rate', '50', '--missing-after', '2s']);
    await eventually(() => saysDelivered(canary));
    await away[Symbol.asyncDispose]();
    const so = deliveredBy(here.address, canary);
    await eventually(() => assert.ok(deliveredBy(here.address, canary) > so + 150));
    assert.ok(!/missing [1-9]/.test(canary.output()), canary.output());
    canary.child.kill('SIGINT');
    const { replicas } = await endOf(canary, 1);
    assert.equal(replicas[0]!.missing, 0);
    assert.ok(replicas[1]!.missing > 0);
  });

  describe('beside a replica that lies', () => {
    const lies: Record<string, { lie: Lie; found: Partial<typeof none>; late?: number; code?: number }> = {
      'drops an entry': { lie: entry => (entry.id === 3n ? [] : [entry]), found: { missing: 1 } },
      'delivers an entry twice': {
        lie: entry => (entry.id === 3n ? [entry, entry] : [entry]),
        found: { duplicate: 1 },
      },
      'delivers an entry again much later': {
        lie: (entry, before) => (entry.id === 30n ? [entry, before.find(({ id }) => id === 3n)!] : [entry]),
        found: { duplicate: 1 },
      },
      'swaps two entries': {
        lie: (entry, before) => (entry.id === 3n ? [] : entry.id === 4n ? [entry, before.at(-1)!] : [entry]),
        found: { outOfOrder: 1 },
      },
      'keeps an append twice': {
        lie: entry => {
          const moved = { ...entry, id: entry.id + 1n };
          return entry.id < 3n ? [entry] : entry.id === 3n ? [entry, moved] : [moved];
        },
        found: { duplicate: 1 },
      },
      'takes its time': {
        lie: async entry => {
          if (entry.id === 3n) await delay(400);
          return [entry];
        },
        found: {},
        late: 300,
        code: 0,
      },
    };
    for (const [what, { lie, found, late, code = 1 }] of Object.entries(lies)) {
      it(`finds out that it ${what}`, async () => {
        await using liar = await startLiar({ lie });
        const times = ['--missing-after', found.missing ? '3s' : '60s', '--late', `${late ?? 60_000}ms`];
        await using canary = watch([liar.address], ['--rate', '100', ...times]);
        await eventually(() => assert.ok(liar.kept > 40));
        canary.child.kill('SIGINT');
        const summary = await endOf(canary, code);
        assert.equal(summary.ok, code === 0);
        const [{ delivered, missing, duplicate, outOfOrder, late: tooLate, latencyMs }] = summary.replicas as [Told];
        assert.deepEqual({ missing, duplicate, outOfOrder }, { ...none, ...found });
        assert.equal(delivered, summary.written - missing);
        assert.equal(tooLate > 0, late !== undefined);
        if (late) assert.ok(latencyMs.max >= late);
      });
    }

    it('resumes by token when streams end and break, and asks for nothing twice', async () => {
      await using peer = await startLiar({ breakAfter: 5 });
      await using canary = watch([peer.address], ['--rate', '100']);
      await eventually(() => assert.ok(peer.starts.length > 2));
      canary.child.kill('SIGINT');
      const { written, replicas } = await endOf(canary, 0);
      assert.equal(replicas[0]!.delivered, written);
      assert.deepEqual(
        peer.starts.map(({ start }) => start.case),
        ['afterId', ...peer.starts.slice(1).map(() => 'resumeToken')],
      );
    });

    it('finds out that it forgets what a token says', async () => {
      await using liar = await startLiar({ breakAfter: 5, forgetful: true });
      await using canary = watch([liar.address], ['--rate', '100', '--missing-after', '300ms']);
      await eventually(() => assert.ok(liar.starts.length > 2));
      canary.child.kill('SIGINT');
      const { replicas } = await endOf(canary, 1);
      assert.ok(replicas[0]!.duplicate > 0);
    });

    it('does not wait for one that refuses a token as for one that is away', async () => {
      await using liar = await startLiar({ breakAfter: 5, refusing: true });
      await using canary = watch([liar.address], ['--rate', '100', '--missing-after', '300ms']);
      await eventually(() => assert.match(canary.output(), /missing [1-9]/));
      assert.match(canary.output(), /the tail through \S+ does not work: 10 ABORTED/);
      canary.child.kill('SIGINT');
      await endOf(canary, 1);
    });

    it('sends again what was not acknowledged, as the same request, and does not call it lost', async () => {
      await using peer = await startLiar({ answerLost: 3 });
      await using canary = watch([peer.address], ['--rate', '20']);
      await eventually(() => assert.ok(peer.repeated > 0));
      canary.child.kill('SIGINT');
      const { written, replicas } = await endOf(canary, 0);
      assert.equal(replicas[0]!.delivered, written);
    });

    it('is not satisfied when nothing could be written', async () => {
      await using canary = watch(['127.0.0.1:1'], ['--duration', '100ms', '--missing-after', '100ms']);
      assert.equal((await endOf(canary, 1)).written, 0);
    });
  });

  const wrong = {
    'no address': [],
    'an address without a port': ['--address', 'localhost'],
    'an address twice': ['--address', 'a:1', '--address', 'a:1'],
    'a rate of 0': ['--address', 'a:1', '--rate', '0'],
    'a time without a unit': ['--address', 'a:1', '--late', '5'],
    'a time that no timer keeps': ['--address', 'a:1', '--duration', '25d'],
    'a wrong backup id': ['--address', 'a:1', '--backup-id', 'X'],
    'a backup id of its own that is to be changed': [
      '--address',
      'a:1',
      '--backup-id',
      newBackupId(),
      '--rotate',
      '1h',
    ],
    'a port that there is not': ['--address', 'a:1', '--metrics-port', '65536'],
  };
  it('refuses a wrong command line, and exits 2', async () => {
    const refusals = Object.entries(wrong).map(async ([what, args]) => {
      await using canary = run('node', ['src/cli/main.ts', 'canary', ...args]);
      assert.equal(await canary.exit(), 2, `${what}: ${canary.output()}`);
      assert.match(canary.output(), /^error: /, what);
    });
    await Promise.all(refusals);
  });

  it('says what is wrong when its metrics cannot be served, or the service keeps no such entries', async () => {
    await using database = await createDatabase();
    await using replica = await startReplica(database.url, { LOG_KEEP_LEVEL: 'error' });
    await using dropped = watch([replica.address], []);
    const taken = replica.address.split(':')[1]!;
    await using second = watch([replica.address], ['--metrics-port', taken]);
    await endOf(dropped, 1);
    assert.match(dropped.output(), /^the canary has failed: .*LOG_KEEP_LEVEL/m);
    await endOf(second, 1);
    assert.match(second.output(), /^the canary has failed: .*EADDRINUSE/m);
  });
});

type Told = {
  address: string;
  written: number;
  delivered: number;
  missing: number;
  duplicate: number;
  outOfOrder: number;
  late: number;
  latencyMs: { p50: number; p99: number; max: number };
};

const none = { missing: 0, duplicate: 0, outOfOrder: 0 };

function watch(addresses: string[], args: string[]): Running {
  const all = addresses.flatMap(address => ['--address', address]);
  return run('node', ['src/cli/main.ts', 'canary', '--interval', '50ms', ...all, ...args]);
}

async function endOf(canary: Running, code: number): Promise<{ ok: boolean; written: number; replicas: Told[] }> {
  assert.equal(await canary.exit(), code, canary.output());
  return JSON.parse(canary.output().match(/^\{.*\}$/m)![0]);
}

function saysDelivered(canary: Running): void {
  assert.match(canary.output(), /: written [1-9]\d*, delivered [1-9].*: written [1-9]\d*, delivered [1-9]/);
}

/** As it has said last. */
function deliveredBy(address: string, canary: Running): number {
  const all = [...canary.output().matchAll(new RegExp(`${address}: written \\d+, delivered (\\d+)`, 'g'))];
  return Number(all.at(-1)?.[1] ?? 0);
}

function addressesOf({ replicas }: Backend): string[] {
  return replicas.map(({ address }) => address);
}

/** What is delivered when an entry's turn comes; `before` are those that came before it. */
type Lie = (entry: LogEntry, before: LogEntry[]) => LogEntry[] | Promise<LogEntry[]>;

/** A peer that keeps logs in memory and speaks the protocol, but does not keep its promises. */
async function startLiar({
  lie = entry => [entry],
  breakAfter = Number.POSITIVE_INFINITY,
  forgetful = false,
  refusing = false,
  answerLost = Number.POSITIVE_INFINITY,
}: {
  lie?: Lie;
  /** A stream ends, and the next one breaks, after so many entries. */
  breakAfter?: number;
  /** Of what tokens say. */
  forgetful?: boolean;
  /** Takes no token. */
  refusing?: boolean;
  /** Every so manieth append is kept but not acknowledged. */
  answerLost?: number;
}) {
  const kept: LogEntry[] = [];
  const requests = new Map<string, bigint>();
  const starts: TailLogsRequest[] = [];
  const gone = () => new StatusError(ErrorReason.DRAINING, 'gone');
  let repeated = 0;
  const toy = await startToy(LogService, {
    async appendLogs({ requestId, entries: [entry] }) {
      const known = requests.get(requestId);
      if (known) {
        repeated++;
        return { firstId: known, lastId: known };
      }
      const id = BigInt(kept.length + 1);
      requests.set(requestId, id);
      kept.push(create(LogEntrySchema, { id, level: entry!.level, message: entry!.message }));
      if (kept.length % answerLost === 0) throw gone();
      return { firstId: id, lastId: id };
    },
    async purgeLogs() {
      return {};
    },
    async *tailLogs(request, { signal }): AsyncGenerator<MessageInitShape<typeof TailLogsResponseSchema>> {
      starts.push(request);
      const resumes = request.start.case === 'resumeToken';
      if (resumes && refusing) throw new StatusError(ErrorReason.HISTORY_DIVERGED, 'lost');
      yield { event: { case: 'started', value: {} } };
      let position = resumes && !forgetful ? Number(request.start.value) : 0;
      for (let sent = 0; ; position++, sent++) {
        if (sent >= breakAfter) {
          if (starts.length % 2 === 0) throw gone();
          yield {
            event: { case: 'end', value: { reason: TailEnd_Reason.MAX_AGE, resumeToken: String(position) } },
          };
          return;
        }
        while (kept.length <= position) await delay(2, undefined, { signal });
        const entries = await lie(kept[position]!, kept.slice(0, position));
        if (entries.length > 0)
          yield { event: { case: 'entries', value: { entries, resumeToken: String(position + 1) } } };
      }
    },
  });
  return {
    address: `127.0.0.1:${toy.server.port}`,
    starts,
    get kept() {
      return kept.length;
    },
    get repeated() {
      return repeated;
    },
    [Symbol.asyncDispose]: () => toy[Symbol.asyncDispose](),
  };
}
