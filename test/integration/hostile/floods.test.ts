import { strict as assert } from 'node:assert';
import { eventually } from '../../support/eventually.ts';
import {
  block,
  CONTINUATION,
  call,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  PING,
  RawConnection,
  RST_STREAM,
  SETTINGS,
  uint32,
  WINDOW_UPDATE,
} from '../../support/raw-http2.ts';
import { startVictim, type Victim } from '../../support/victim.ts';

const append = '/backup.v1.LogService/AppendLogs';
const repeated = (bytes: Buffer, count: number) => Buffer.concat(Array.from({ length: count }, () => bytes));

describe('A service that is flooded', () => {
  let victim: Victim;

  before(async () => {
    victim = await startVictim({ KEEPALIVE_TIME: '1s', KEEPALIVE_TIMEOUT: '5s' });
  });

  after(() => victim[Symbol.asyncDispose]());

  /** Sends it again and again, until the connection is closed. */
  async function untilClosed(raw: RawConnection, next: (i: number) => Buffer, most: number): Promise<void> {
    for (let i = 0; i < most && !raw.closed; i++) await raw.send(next(i));
    await eventually(() => assert.ok(raw.closed, 'the connection is still open'));
  }

  it('closes a connection whose header block has no end', async () => {
    await victim.during(async () => {
      using raw = await RawConnection.greeted(victim.address);
      await raw.send(frame(HEADERS, 0, 1, block(call(append))));
      const more = frame(CONTINUATION, 0, 1, block([['x-more', 'x'.repeat(8000)]]));
      await untilClosed(raw, () => more, 20_000);
    });
  });

  it('closes a connection whose empty CONTINUATIONs have no end', async () => {
    await victim.during(async () => {
      using raw = await RawConnection.greeted(victim.address);
      await raw.send(frame(HEADERS, 0, 1, block(call(append))));
      const more = repeated(frame(CONTINUATION, 0, 1, Buffer.alloc(0)), 1000);
      await untilClosed(raw, () => more, 20_000);
    });
  });

  for (const [what, headers] of [
    ['huge headers', [['x-huge', 'x'.repeat(300_000)]]],
    ['many headers', Array.from({ length: 5000 }, (_, i) => [`x-${i}`, 'y'])],
  ] as [string, [string, string][]][]) {
    it(`serves others while it gets ${what}`, async () => {
      await victim.during(async () => {
        for (let round = 0; round < 20; round++) {
          using raw = await RawConnection.greeted(victim.address);
          const bytes = block(call(append, headers));
          await raw.send(frame(HEADERS, 0, 1, bytes.subarray(0, 16_000)));
          for (let at = 16_000; at < bytes.length; at += 16_000) {
            const last = at + 16_000 >= bytes.length;
            await raw.send(frame(CONTINUATION, last ? END_HEADERS : 0, 1, bytes.subarray(at, at + 16_000)));
          }
          await eventually(() =>
            assert.ok(raw.closed || raw.frames().some(({ type }) => type === RST_STREAM || type === GOAWAY)),
          );
        }
      });
    });
  }

  it('closes a connection that begins calls only to take them back (CVE-2023-44487)', async () => {
    await victim.during(async () => {
      using raw = await RawConnection.greeted(victim.address);
      const headers = block(call(append));
      const next = (i: number) => {
        const rounds = Array.from({ length: 100 }, (_, k) => 2 * (100 * i + k) + 1);
        const each = (id: number) => [frame(HEADERS, END_HEADERS, id, headers), frame(RST_STREAM, 0, id, uint32(8))];
        return Buffer.concat(rounds.flatMap(each));
      };
      await untilClosed(raw, next, 2000);
    });
  });

  it('closes a connection that makes it reset streams without end', async () => {
    await victim.during(async () => {
      using raw = await RawConnection.greeted(victim.address);
      const headers = block(call(append));
      // A window of more than 2^31 - 1 is a fault of the stream, which the service resets.
      const next = (i: number) => {
        const rounds = Array.from({ length: 100 }, (_, k) => 2 * (100 * i + k) + 1);
        const each = (id: number) => [
          frame(HEADERS, END_HEADERS, id, headers),
          frame(WINDOW_UPDATE, 0, id, uint32(0x7fffffff)),
        ];
        return Buffer.concat(rounds.flatMap(each));
      };
      await untilClosed(raw, next, 2000);
    });
  });

  for (const [what, flood] of [
    ['PINGs', frame(PING, 0, 0, Buffer.alloc(8))],
    ['SETTINGS', frame(SETTINGS, 0, 0, Buffer.concat([Buffer.of(0, 4), uint32(65_535)]))],
  ] as const) {
    it(`closes a connection that sends ${what} and never reads the answers`, async () => {
      await victim.during(async () => {
        using raw = await RawConnection.greeted(victim.address);
        raw.deafen();
        const many = repeated(flood, 1000);
        await untilClosed(raw, () => many, 5000);
      });
    });

    it(`serves others while it gets ${what} whose answers are read`, async () => {
      await victim.during(async () => {
        using raw = await RawConnection.greeted(victim.address);
        const many = repeated(flood, 100);
        for (let i = 0; i < 500 && !raw.closed; i++) await raw.send(many);
      });
    });
  }

  it('serves others while it gets updates of windows, and calls that end at once', async () => {
    await victim.during(async () => {
      using raw = await RawConnection.greeted(victim.address);
      const updates = repeated(frame(WINDOW_UPDATE, 0, 0, uint32(1)), 1000);
      for (let i = 0; i < 100 && !raw.closed; i++) {
        await raw.send(updates);
        await raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, block(call(append))));
      }
    });
  });
});
