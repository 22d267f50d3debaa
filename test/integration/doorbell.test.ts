import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { createClient } from '@redis/client';
import { channelOf, Doorbell } from '../../src/db/doorbell.ts';
import { freePort } from '../../src/db/embedded.ts';
import { brokers, startBroker } from '../support/broker.ts';
import { Cable } from '../support/cable.ts';
import { createDatabase, engine } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';

const never = new AbortController().signal;

type Line = { url: string; channel: string };

function open({ url, channel }: Line, heartbeatMs = 10_000, warn: (message: string) => void = () => {}): Doorbell {
  return new Doorbell({ url, channel, enabled: true, heartbeatMs, warn });
}

const connected = (doorbell: Doorbell) => eventually(() => assert.ok(doorbell.connected));

/** Rings until it is heard. Who has just connected is woken by that alone, so it has to be over. */
async function heard(from: Doorbell, by: Doorbell, key = 'key'): Promise<void> {
  for (const doorbell of [from, by]) await connected(doorbell);
  using latch = by.subscribe([key]);
  let rung = false;
  await eventually(async () => {
    latch.clear();
    from.ring(key);
    await latch.wait(20, never);
    rung = latch.isSet;
    assert.ok(rung);
  });
}

/** The same by way of a cable. */
async function cabled(line: Line): Promise<Line & AsyncDisposable & { cable: Cable }> {
  const url = new URL(line.url);
  const cable = await Cable.start(url);
  url.port = String(cable.port);
  return { url: url.href, channel: line.channel, cable, [Symbol.asyncDispose]: () => cable[Symbol.asyncDispose]() };
}

const starts = {
  NOTIFY: createDatabase,
  ...Object.fromEntries(brokers.map(kind => [kind, () => startBroker(kind)])),
};

const REFUSED = {
  NOTIFY: /password authentication failed/,
  nats: /Authorization Violation/i,
  redis: /WRONGPASS/,
} as Record<string, RegExp>;

for (const [transport, start] of Object.entries(starts))
  describe(`Doorbell by ${transport}`, () => {
    let server: AsyncDisposable & { url: string };
    let line: Line;
    beforeEach(async () => {
      server = await start();
      line = { url: server.url, channel: channelOf(randomUUID()) };
    });
    afterEach(() => server[Symbol.asyncDispose]());

    it('wakes the other replicas, and only who waits for the key', async () => {
      await using a = open(line);
      await using b = open(line);
      await heard(a, b);
      await heard(b, a);
      using other = b.subscribe(['other']);
      other.clear();
      await heard(a, b);
      assert.ok(!other.isSet);
    });

    it('is not heard back by who has rung', async () => {
      await using a = open(line);
      await using b = open(line);
      await heard(a, b);
      await heard(b, a);
      const heardByA: (string | undefined)[] = [];
      using _ = a.observe(key => heardByA.push(key));
      a.ring('once');
      await heard(a, b, 'later');
      await heard(b, a, 'last');
      assert.equal(heardByA.filter(key => key === 'once').length, 1);
    });

    it('wakes for every one of thousands of keys that are rung at once', async () => {
      await using a = open(line);
      await using b = open(line);
      await heard(a, b);
      const keys = Array.from({ length: 5000 }, (_, i) => i.toString(16).padStart(32, '0'));
      const latches = keys.map(key => b.subscribe([key]));
      for (const key of keys) a.ring(key);
      await eventually(() => assert.ok(latches.every(latch => latch.isSet)));
      for (const latch of latches) latch[Symbol.dispose]();
      assert.equal(b.subscribers, 0);
      assert.equal(a.dropped, 0);
    });

    it('sends nothing while no other replica listens, and does as soon as one begins to', async () => {
      await using tapped = await cabled(line);
      let sent = '';
      tapped.cable.tap = data => {
        sent += data.toString('latin1');
      };
      // It asks when it has connected, and not again within this test.
      await using a = open(tapped, 60_000);
      await connected(a);
      a.ring('nobody');
      // It would have gone, and what goes later comes behind it.
      for (let i = 0; i < 3; i++) await setImmediate();
      await using b = open(line);
      await heard(a, b, 'somebody');
      assert.ok(sent.includes('newcomer') && sent.includes('somebody'));
      assert.ok(!sent.includes('nobody'));
    });

    it('stops sending when the others have gone', async () => {
      await using tapped = await cabled(line);
      await using a = open(tapped, 100);
      const gone = open(line);
      await heard(gone, a);
      await heard(a, gone);
      await gone[Symbol.asyncDispose]();
      let sent = '';
      tapped.cable.tap = data => {
        sent += data.toString('latin1');
      };
      // By then it has asked again.
      await eventually(async () => {
        sent = '';
        a.ring('nobody');
        await eventually(() => assert.ok(sent.length > 0));
        assert.ok(!sent.includes('nobody'));
      });
    });

    it('notices a connection that is dead but open, and connects again', async () => {
      await using through = await cabled(line);
      await using far = open(through, 500);
      await using near = open(line);
      await heard(near, far);
      using waiting = far.subscribe(['missed']);
      waiting.clear();
      through.cable.freeze();
      near.ring('missed');
      // It cannot have heard the ring; but a new connection makes everybody look.
      await eventually(() => assert.ok(waiting.isSet));
      assert.ok(through.cable.connections >= 2);
      await heard(near, far);
    });

    it('lets an observer hear every ring on whichever replica, and know when some may have been missed', async () => {
      await using through = await cabled(line);
      await using a = open(through);
      await using b = open(line);
      const heardByA: (string | undefined)[] = [];
      using observing = a.observe(key => heardByA.push(key));
      await heard(b, a);
      // Connected only now: whatever was rung before may have been missed.
      assert.equal(heardByA[0], undefined);
      a.ring('here');
      assert.equal(heardByA.at(-1), 'here');
      b.ring('there');
      await eventually(() => assert.equal(heardByA.at(-1), 'there'));
      const before = heardByA.length;
      through.cable.cut();
      await eventually(() => assert.ok(heardByA.slice(before).includes(undefined)));
      assert.equal(a.connections, 2);
      observing[Symbol.dispose]();
      const after = heardByA.length;
      a.ring('nobody');
      assert.equal(heardByA.length, after);
    });

    it('keeps 10,000 rings for a connection that takes none, and counts what it gives up', async () => {
      await using through = await cabled(line);
      await using a = open(through, 60_000);
      await using b = open(line);
      await heard(a, b);
      await heard(b, a);
      through.cable.freeze();
      a.ring('under way');
      for (let i = 0; i < 3; i++) await setImmediate();
      assert.equal(a.dropped, 0);
      using kept = b.subscribe(['kept']);
      a.ring('kept');
      for (let i = 0; i < 15_000; i++) a.ring(`other ${i}`);
      const { dropped } = a;
      // Besides the one that is kept there may wait those from before.
      assert.ok(dropped > 5000 && dropped <= 5003, `${dropped}`);
      // One that waits already is not one more.
      a.ring('kept');
      assert.equal(a.dropped, dropped);
      kept.clear();
      through.cable.cut();
      // What was under way is lost, and what waited comes.
      await eventually(() => assert.ok(kept.isSet));
      assert.ok(a.dropped > dropped && a.dropped <= dropped + 2, `${a.dropped} after ${dropped}`);
    });

    it('says once that it cannot connect, goes on trying, and hears when it can', async () => {
      await using through = await cabled({ ...line, url: withPort(line.url, await freePort()) });
      const warnings: string[] = [];
      await using a = open(through, 10_000, message => warnings.push(message));
      await eventually(() => assert.ok(through.cable.connections >= 4));
      assert.equal(a.connected, false);
      assert.equal(warnings.length, 1, warnings.join('\n'));
      through.cable.redirect(new URL(line.url));
      await using b = open(line);
      await heard(b, a);
      assert.ok(a.connected);
    });

    // How a cluster that is not the tests' own lets in is its operator's.
    const asks = transport !== 'NOTIFY' || engine !== 'citus';
    if (asks)
      it('says that the password is wrong, and not which one it was', async () => {
        const url = new URL(line.url);
        url.password = 'hunter2';
        const warnings: string[] = [];
        await using _ = open({ ...line, url: url.href }, 10_000, message => warnings.push(message));
        await eventually(() => assert.equal(warnings.length, 1));
        assert.match(warnings[0]!, REFUSED[transport]!);
        assert.ok(warnings[0]!.includes(url.host));
        assert.ok(!warnings[0]!.includes('hunter2'));
      });

    it('leaves no connection behind, also where nobody answers', async () => {
      let sockets = 0;
      let most = 0;
      const mute = createServer(socket => {
        most = Math.max(most, ++sockets);
        socket
          .on('error', () => {})
          .on('close', () => sockets--)
          .resume();
      });
      await once(mute.listen(0, '127.0.0.1'), 'listening');
      const warnings: string[] = [];
      const url = withPort(line.url, String((mute.address() as { port: number }).port));
      const a = open({ ...line, url }, 100, message => warnings.push(message));
      await eventually(() => assert.equal(warnings.length, 1));
      await eventually(() => assert.ok(most > 0 && sockets === 0));
      await eventually(() => assert.equal(sockets, 1));
      await a[Symbol.asyncDispose]();
      await eventually(() => assert.equal(sockets, 0));
      assert.equal(most, 1);
      mute.close();
    });
  });

function withPort(text: string, port: string): string {
  return Object.assign(new URL(text), { port }).href;
}

for (const kind of brokers)
  it(`Doorbell by ${kind} with TLS tells its password to nobody who has none`, async () => {
    await using broker = await startBroker(kind);
    const line = {
      url: broker.url.replace(/^\w+:/, { nats: 'tls:', redis: 'rediss:' }[kind]),
      channel: channelOf('a'),
    };
    await using tapped = await cabled(line);
    let sent = '';
    tapped.cable.tap = data => {
      sent += data.toString('latin1');
    };
    await using a = open(tapped, 100);
    await eventually(() => assert.ok(tapped.cable.connections >= 4));
    assert.equal(a.connections, 0);
    assert.ok(!sent.includes('p@ss'));
  });

if (brokers.includes('redis'))
  it('Doorbell by nodes of a Redis cluster is heard by all of them, although each knows its own listeners only', async () => {
    await using house = new AsyncDisposableStack();
    const bus = await freePort();
    const cluster = (port: string) => ({
      more: `cluster-enabled yes\ncluster-port ${port}\nuser admin on >admin ~* +@all\n`,
    });
    const { url } = house.use(await startBroker('redis', cluster(await freePort())));
    const { url: other } = house.use(await startBroker('redis', cluster(bus)));
    const admin = createClient({ url: url.replace(/\/\/.*@/, '//admin:admin@') });
    await admin.connect();
    house.defer(() => admin.destroy());
    await admin.sendCommand(['CLUSTER', 'MEET', '127.0.0.1', new URL(other).port, bus]);
    await eventually(async () => assert.match(String(await admin.sendCommand(['CLUSTER', 'INFO'])), /known_nodes:2/));
    const channel = channelOf(randomUUID());
    await using a = open({ url, channel }, 50);
    await using b = open({ url: other, channel }, 50);
    // Over many heartbeats, with each of which they ask again who listens.
    for (let i = 0; i < 20; i++) {
      await heard(a, b, `${i}`);
      await heard(b, a, `${i}`);
    }
  });

describe('Doorbell', () => {
  const nowhere = { url: 'postgresql://nobody@127.0.0.1:1/none', channel: 'none' };

  it('wakes its own replica at once, without a database', async () => {
    await using doorbell = open(nowhere);
    using latch = doorbell.subscribe(['a', 'b']);
    doorbell.ring('b');
    assert.ok(latch.isSet);
  });

  it('forgets who no longer waits', async () => {
    await using doorbell = open(nowhere);
    const latches = Array.from({ length: 10 }, (_, i) => doorbell.subscribe(['same', `${i}`]));
    assert.equal(doorbell.subscribers, 10);
    for (const latch of latches) latch[Symbol.dispose]();
    assert.equal(doorbell.subscribers, 0);
    doorbell.ring('same');
    assert.ok(latches.every(latch => !latch.isSet));
  });

  it('gives each database a channel of its own on a broker, which does not tell its secret', () => {
    const [one, other] = [channelOf('secret one'), channelOf('secret two')];
    assert.notEqual(one, other);
    assert.equal(one, channelOf('secret one'));
    assert.match(one, /^backup_doorbell\.[0-9a-f]{16}$/);
  });
});
