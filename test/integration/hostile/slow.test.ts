import { strict as assert } from 'node:assert';
import { eventually } from '../../support/eventually.ts';
import {
  block,
  call,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  message,
  PREFACE,
  RawConnection,
  uint32,
} from '../../support/raw-http2.ts';
import { tailRequest } from '../../support/stalled.ts';
import { startVictim, type Victim } from '../../support/victim.ts';
import { newBackupId } from '../../support/writing.ts';

const append = '/backup.v1.LogService/AppendLogs';
const tail = '/backup.v1.LogService/TailLogs';

describe('A service whose peers are slow on purpose', () => {
  let victim: Victim;

  before(async () => {
    victim = await startVictim({
      KEEPALIVE_TIME: '1s',
      KEEPALIVE_TIMEOUT: '5s',
      WRITE_TIMEOUT: '2s',
      MAX_REQUEST_BYTES: '33554432',
      MAX_CONNECTIONS: '500',
    });
  });

  after(() => victim[Symbol.asyncDispose]());

  for (const [what, said] of [
    ['say nothing', Buffer.alloc(0)],
    ['stop in the middle of the preface', PREFACE.subarray(0, 10)],
    ['stop behind the preface', PREFACE],
    ['stop in the middle of a frame', Buffer.concat([PREFACE, frame(4, 0, 0, Buffer.alloc(0)), Buffer.of(0, 0, 200)])],
  ] as const) {
    it(`closes connections that ${what}`, async () => {
      await victim.during(async () => {
        const all = await Promise.all(Array.from({ length: 200 }, () => RawConnection.open(victim.address)));
        await Promise.all(all.map(raw => raw.send(said)));
        await eventually(() => assert.ok(all.every(({ closed }) => closed)));
      });
    });
  }

  it('refuses requests that do not arrive, byte by byte or not at all', async () => {
    await victim.during(async () => {
      using raw = await RawConnection.greeted(victim.address);
      raw.answerPings();
      const started = 500;
      const part = message(Buffer.alloc(10), { length: 1000 });
      for (let i = 0; i < started; i++) {
        await raw.send(frame(HEADERS, END_HEADERS, 2 * i + 1, block(call(append))));
        if (i % 2) await raw.send(frame(DATA, 0, 2 * i + 1, part));
      }
      const dripping = setInterval(() => void raw.send(frame(DATA, 0, 3, Buffer.of(0))), 200);
      const answered = () => raw.frames().filter(({ type, flags }) => type === HEADERS && flags & END_STREAM);
      try {
        await eventually(() => assert.equal(answered().length, started));
      } finally {
        clearInterval(dripping);
      }
      assert.ok(!raw.closed);
    });
  });

  it('takes no more beginnings of large messages than it has room for', async () => {
    await victim.during(async () => {
      const all = await Promise.all(Array.from({ length: 10 }, () => RawConnection.greeted(victim.address)));
      // Else they are closed while a busy machine still sends.
      for (const raw of all) raw.answerPings();
      // 10 times 20 times 2 MiB, and room for 32.
      const piece = Buffer.alloc(16_000);
      for (const raw of all) {
        for (let i = 0; i < 20; i++) {
          await raw.send(frame(HEADERS, END_HEADERS, 2 * i + 1, block(call(append))));
          await raw.send(frame(DATA, 0, 2 * i + 1, message(piece, { length: 4_000_000 })));
        }
      }
      for (let sent = 0; sent < 130; sent++) {
        // Else a busy service finds windows exceeded and closes all of them: it has to have read to open them again.
        if (sent % 4 === 0) await Promise.all(all.map(raw => raw.caughtUp()));
        await Promise.all(
          all.map(raw =>
            raw.send(Buffer.concat(Array.from({ length: 20 }, (_, i) => frame(DATA, 0, 2 * i + 1, piece)))),
          ),
        );
      }
      await eventually(() =>
        assert.ok(all.some(raw => raw.frames().some(({ type, payload }) => type === HEADERS && payload.length > 100))),
      );
      for (const raw of all) raw[Symbol.dispose]();
      // 400 if all of it were kept.
    }, 330);
  });

  it('keeps next to nothing for peers that let nothing through to them', async () => {
    await victim.during(async () => {
      // SETTINGS_INITIAL_WINDOW_SIZE 0, and one of 1.
      for (const size of [0, 1]) {
        const settings = Buffer.concat([Buffer.of(0, 4), uint32(size)]);
        const all = await Promise.all(
          Array.from({ length: 10 }, () => RawConnection.greeted(victim.address, settings)),
        );
        for (const raw of all) {
          for (let i = 0; i < 20; i++) {
            await raw.send(frame(HEADERS, END_HEADERS, 2 * i + 1, block(call(tail))));
            await raw.send(frame(DATA, END_STREAM, 2 * i + 1, message(tailRequest(newBackupId()))));
          }
        }
        const accepted = (raw: RawConnection) => raw.frames().filter(({ type }) => type === HEADERS).length;
        await eventually(() => assert.deepEqual(all.map(accepted), Array(10).fill(20)));
        for (const raw of all) raw[Symbol.dispose]();
      }
    });
  });
});
