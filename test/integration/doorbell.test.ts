import { strict as assert } from 'node:assert';
import pg from 'pg';
import { Doorbell } from '../../src/db/doorbell.ts';
import { Cable } from '../support/cable.ts';
import { createDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';

const never = new AbortController().signal;

function open(url: string, heartbeatMs = 10_000): Doorbell {
  return new Doorbell({ url, enabled: true, heartbeatMs, warn: () => {} });
}

/** Rings until it is heard: the listener may not be connected yet. */
async function heard(from: Doorbell, by: Doorbell, key = 'key'): Promise<void> {
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

/** Somebody on the channel who is no replica. */
async function listening(url: string) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const heard: string[] = [];
  client.on('notification', ({ payload }) => heard.push(...(payload ?? '').split(' ')));
  await client.query('listen backup_doorbell');
  return {
    heard,
    /** Called when whatever was sent before has come. */
    ping: (then: () => void) => void client.query('select pg_sleep(0.05)').then(then),
    [Symbol.asyncDispose]: () => client.end(),
  };
}

describe('Doorbell', () => {
  it('wakes its own replica at once, without a database', async () => {
    await using doorbell = open('postgresql://nobody@127.0.0.1:1/none');
    using latch = doorbell.subscribe(['a', 'b']);
    doorbell.ring('b');
    assert.ok(latch.isSet);
  });

  it('wakes the other replicas, and only who waits for the key', async () => {
    await using database = await createDatabase();
    await using a = open(database.url);
    await using b = open(database.url);
    await heard(a, b);
    await heard(b, a);
    using other = b.subscribe(['other']);
    other.clear();
    await heard(a, b);
    assert.ok(!other.isSet);
  });

  it('wakes for every one of thousands of keys that are rung at once', async () => {
    await using database = await createDatabase();
    await using a = open(database.url);
    await using b = open(database.url);
    await heard(a, b);
    const keys = Array.from({ length: 5000 }, (_, i) => i.toString(16).padStart(32, '0'));
    const latches = keys.map(key => b.subscribe([key]));
    for (const key of keys) a.ring(key);
    await eventually(() => assert.ok(latches.every(latch => latch.isSet)));
    for (const latch of latches) latch[Symbol.dispose]();
    assert.equal(b.subscribers, 0);
  });

  it('sends nothing while no other replica listens, and does as soon as one begins to', async () => {
    await using database = await createDatabase();
    // It asks when it has connected, and not again within this test.
    await using a = open(database.url, 60_000);
    await using client = await listening(database.url);
    await eventually(() => {
      client.heard.length = 0;
      a.ring('nobody');
      return new Promise<void>((resolve, reject) =>
        client.ping(() => (client.heard.includes('nobody') ? reject(new Error('still rings')) : resolve())),
      );
    });
    await using b = open(database.url);
    // First this way: who connects is woken by that alone.
    await heard(b, a);
    await heard(a, b);
    await eventually(() => assert.ok(client.heard.includes('newcomer')));
  });

  it('notices a connection that is dead but open, and connects again', async () => {
    await using database = await createDatabase();
    const url = new URL(database.url);
    await using cable = await Cable.start(url);
    url.port = String(cable.port);
    await using far = open(url.href, 500);
    await using near = open(database.url);
    await heard(near, far);
    using waiting = far.subscribe(['missed']);
    waiting.clear();
    cable.freeze();
    near.ring('missed');
    // It cannot have heard the ring; but a new connection makes everybody look.
    await eventually(() => assert.ok(waiting.isSet));
    assert.ok(cable.connections >= 2);
    await heard(near, far);
  });

  it('lets an observer hear every ring on whichever replica, and know when some may have been missed', async () => {
    await using database = await createDatabase();
    await using a = open(database.url);
    await using b = open(database.url);
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
    const mine = `datname = current_database() and application_name like '%doorbell'`;
    await database.query(`select pg_terminate_backend(pid) from pg_stat_activity where ${mine}`);
    await eventually(() => assert.ok(heardByA.slice(before).includes(undefined)));
    observing[Symbol.dispose]();
    const after = heardByA.length;
    a.ring('nobody');
    assert.equal(heardByA.length, after);
  });

  it('forgets who no longer waits', async () => {
    await using doorbell = open('postgresql://nobody@127.0.0.1:1/none');
    const latches = Array.from({ length: 10 }, (_, i) => doorbell.subscribe(['same', `${i}`]));
    assert.equal(doorbell.subscribers, 10);
    for (const latch of latches) latch[Symbol.dispose]();
    assert.equal(doorbell.subscribers, 0);
    doorbell.ring('same');
    assert.ok(latches.every(latch => !latch.isSet));
  });
});
