import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { type ClientHttp2Session, constants, connect as http2Connect } from 'node:http2';
import { promisify } from 'node:util';
import { deflate, gzip, gzipSync } from 'node:zlib';
import { Metadata, status } from '@grpc/grpc-js';
import { LogService } from '../../../src/gen/backup/v1/log_pb.ts';
import { methodDefinition } from '../../../src/grpc/definition.ts';
import { eventually } from '../../support/eventually.ts';
import { DATA, frame, HEADERS, message, PREFACE, RawConnection } from '../../support/raw-http2.ts';
import { detailsOf } from '../../support/status.ts';
import { startVictim, type Victim } from '../../support/victim.ts';

const { path } = methodDefinition(LogService.method.appendLogs);
const mib = 1024 * 1024;

type Answer = { http: number; code: string; reason: string | undefined };

describe('A service that gets messages which are none', () => {
  let victim: Victim;
  let session: ClientHttp2Session;

  before(async () => {
    victim = await startVictim({ KEEPALIVE_TIME: '5s' });
  });
  after(() => victim[Symbol.asyncDispose]());

  beforeEach(() => {
    session = http2Connect(`http://${victim.address}`, { maxSessionMemory: 1000 });
  });
  afterEach(() => session.close());

  /** What a call is answered that sends these bytes. */
  async function answerTo(bytes: Buffer, headers: Record<string, string> = {}): Promise<Answer> {
    const request = {
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    };
    const stream = session.request(request);
    stream.on('error', () => {});
    const answer = new Promise<Answer>((resolve, reject) => {
      let first: Record<string, unknown> = {};
      stream.on('response', given => {
        first = given;
      });
      stream.on('trailers', given => {
        first = { ...first, ...given };
      });
      stream.on('close', () => {
        const code = first['grpc-status'];
        const metadata = Metadata.fromHttp2Headers(first as never);
        if (first[':status'] === undefined) return reject(new Error(`reset with ${stream.rstCode}`));
        resolve({
          http: Number(first[':status']),
          code: code === undefined ? '' : status[Number(code)]!,
          reason: metadata.get('grpc-status-details-bin').length ? detailsOf(metadata).info?.reason : undefined,
        });
      });
    });
    stream.resume();
    stream.end(bytes);
    return answer;
  }

  for (const [encoding, compress] of [
    ['gzip', promisify(gzip)],
    ['deflate', promisify(deflate)],
  ] as const) {
    it(`refuses bombs, 1000 times as large without ${encoding}, and keeps none of them`, async () => {
      const bomb = await compress(Buffer.alloc(1024 * mib), { level: 9 });
      assert.ok(bomb.length < 1.2 * mib);
      await victim.during(async () => {
        const bombs = Array.from({ length: 20 }, () =>
          answerTo(message(bomb, { compressed: 1 }), { 'grpc-encoding': encoding }),
        );
        const expected = { http: 200, code: 'RESOURCE_EXHAUSTED', reason: 'MESSAGE_TOO_LARGE' };
        for (const answer of bombs) assert.deepEqual(await answer, expected);
      }, 250);
    });
  }

  it('takes messages that are compressed as they should be', async () => {
    const { code, reason } = await answerTo(message(gzipSync(Buffer.alloc(0)), { compressed: 1 }), {
      'grpc-encoding': 'gzip',
    });
    assert.deepEqual([code, reason], ['INVALID_ARGUMENT', 'INVALID_FIELD']);
  });

  it('refuses messages above the limit by what their prefix says, before they have come', async () => {
    await victim.during(async () => {
      for (const length of [4 * mib + 1, 2 ** 31, 2 ** 32 - 1]) {
        const answer = await answerTo(message(Buffer.alloc(100), { length }));
        assert.deepEqual(answer, { http: 200, code: 'RESOURCE_EXHAUSTED', reason: 'MESSAGE_TOO_LARGE' });
      }
    });
  });

  for (const [what, bytes, headers, expected] of [
    [
      'with a prefix that says less',
      message(Buffer.alloc(100), { length: 10 }),
      {},
      ['UNIMPLEMENTED', 'UNSUPPORTED_CALL'],
    ],
    [
      'with a prefix that says more',
      message(Buffer.alloc(10), { length: 100 }),
      {},
      ['UNIMPLEMENTED', 'UNSUPPORTED_CALL'],
    ],
    ['with half a prefix', Buffer.alloc(3), {}, ['UNIMPLEMENTED', 'UNSUPPORTED_CALL']],
    ['that are not there', Buffer.alloc(0), {}, ['UNIMPLEMENTED', 'UNSUPPORTED_CALL']],
    [
      'that are two',
      Buffer.concat([message(Buffer.alloc(0)), message(Buffer.alloc(0))]),
      {},
      ['UNIMPLEMENTED', 'UNSUPPORTED_CALL'],
    ],
    [
      'that are not what they are said to be',
      message(Buffer.from('no gzip'), { compressed: 1 }),
      { 'grpc-encoding': 'gzip' },
      ['INVALID_ARGUMENT', 'MALFORMED_MESSAGE'],
    ],
    [
      'compressed in a way that nobody knows',
      message(Buffer.alloc(10), { compressed: 1 }),
      { 'grpc-encoding': 'middle-out' },
      ['UNIMPLEMENTED', 'UNSUPPORTED_CALL'],
    ],
    [
      'with a deadline that is none',
      message(Buffer.alloc(0)),
      { 'grpc-timeout': 'soon' },
      ['INVALID_ARGUMENT', 'MALFORMED_MESSAGE'],
    ],
  ] as [string, Buffer, Record<string, string>, [string, string]][]) {
    it(`refuses messages ${what}`, async () => {
      await victim.during(async () => {
        const { code, reason } = await answerTo(bytes, headers);
        assert.deepEqual([code, reason], expected);
      });
    });
  }

  it('refuses what is not gRPC', async () => {
    await victim.during(async () => {
      for (const type of ['application/json', 'text/html', '']) {
        assert.equal((await answerTo(message(Buffer.alloc(0)), { 'content-type': type })).http, 415);
      }
    });
  });

  for (const [what, bytes] of [
    ['longer than HTTP/2 lets it be', frame(HEADERS, 4, 1, Buffer.alloc(20_000))],
    ['of data for no stream', frame(DATA, 0, 0, Buffer.alloc(10))],
    ['of headers that are not HPACK', frame(HEADERS, 4, 1, Buffer.alloc(100, 255))],
    ['of data for a stream that nobody has begun', frame(DATA, 0, 7, Buffer.alloc(10))],
    ['of settings with a bad length', frame(4, 0, 0, Buffer.alloc(5))],
    ['of a ping with a bad length', frame(6, 0, 0, Buffer.alloc(5))],
    ['of a window update of nothing', frame(8, 0, 0, Buffer.alloc(4))],
  ] as [string, Buffer][]) {
    it(`closes a connection with a frame ${what}`, async () => {
      await victim.during(async () => {
        using raw = await RawConnection.greeted(victim.address);
        await raw.send(bytes);
        await eventually(() => assert.ok(raw.closed));
      });
    });
  }

  it('closes connections that speak HTTP/1.1, TLS or noise', async () => {
    await victim.during(async () => {
      for (const bytes of [
        Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
        Buffer.concat([Buffer.of(0x16, 3, 1, 2, 0), Buffer.alloc(512)]),
        Buffer.concat([PREFACE, Buffer.alloc(5000, 0xa5)]),
      ]) {
        using raw = await RawConnection.open(victim.address);
        await raw.send(bytes);
        await eventually(() => assert.ok(raw.closed));
      }
    });
  });

  it('answers an unknown method, on a connection that goes on', async () => {
    const { code } = await answerTo(message(Buffer.alloc(0)), { ':path': '/backup.v1.LogService/Nothing' });
    assert.equal(code, 'UNIMPLEMENTED');
    assert.ok(!session.closed && constants.NGHTTP2_NO_ERROR === 0);
  });
});

describe('A service with more connections than it accepts', () => {
  it('closes those above the limit at once, and takes others when some have gone', async () => {
    await using victim = await startVictim({ MAX_CONNECTIONS: '1000' });
    await victim.during(async () => {
      const all: RawConnection[] = [];
      for (let i = 0; i < 30; i++) {
        all.push(...(await Promise.all(Array.from({ length: 100 }, () => RawConnection.greeted(victim.address)))));
      }
      await eventually(() => assert.equal(all.filter(({ closed }) => !closed).length, 999));
      for (const raw of all) raw[Symbol.dispose]();
      await eventually(async () => {
        const session = http2Connect(`http://${victim.address}`);
        session.on('error', () => {});
        await Promise.race([once(session, 'remoteSettings'), once(session, 'close').then(() => assert.fail('closed'))]);
        session.close();
      });
    });
  });
});
