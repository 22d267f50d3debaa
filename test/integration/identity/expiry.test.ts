import { strict as assert } from 'node:assert';
import { randomBytes } from 'node:crypto';
import { type ServiceError, status } from '@grpc/grpc-js';
import { WatchEnd_Reason } from '../../../src/gen/backup/v1/controller_pb.ts';
import { IngestEnd_Reason } from '../../../src/gen/backup/v1/log_pb.ts';
import { ServerReflection } from '../../../src/gen/grpc/reflection/v1/reflection_pb.ts';
import { Health } from '../../../src/gen/health/v1/health_pb.ts';
import { createClient } from '../../../src/grpc/client.ts';
import { Authority } from '../../support/authority.ts';
import { eventually } from '../../support/eventually.ts';
import { batch, ingest, kept, start as startOf } from '../../support/ingesting.ts';
import { Issuer } from '../../support/issuer.ts';
import { locked } from '../../support/locked.ts';
import { type Clients, type Secured, startSecured } from '../../support/secured.ts';
import { refused } from '../../support/status.ts';
import { Subscriber } from '../../support/subscriber.ts';
import { append, newBackup, newBackupId, truthOf, writeAll } from '../../support/writing.ts';
import { chunk, downloaded, parts, start } from '../payload/chunks.ts';

const EXPIRED = { code: 'UNAUTHENTICATED', reason: 'TOKEN_EXPIRED' } as const;

describe('A stream whose token expires', () => {
  let secured: Secured;
  let issuer: Issuer;
  let lasting: Clients;
  before(async () => {
    issuer = await Issuer.create();
    secured = await startSecured(await Authority.create(), {
      issuer,
      settings: { TOKEN_SKEW: '1ms', OPEN_HEALTH: 'off' },
    });
    lasting = secured.as({ token: await issuer.token('read write work admin', { lifetime: 3600 }) });
  });
  after(() => secured[Symbol.asyncDispose]());

  /** Clients whose token has three to four seconds. */
  const soon = async () => secured.as({ token: await issuer.token('read work', { lifetime: 4 }) });
  const forgotten = () => eventually(() => assert.equal(secured.replica.app.admission.calls, 0));

  it('is ended with a resume token when it is a tail, and continued with a fresh one: nothing is lost or doubled', async () => {
    const backupId = newBackupId();
    let writing = true;
    const written = (async () => {
      for (let i = 0; writing; i++) await writeAll([lasting], backupId, `part ${i}`, 10);
    })();
    let subscriber = new Subscriber(await soon(), { backupIds: [backupId], follow: true });
    for (let streams = 0; streams < 3; streams++) {
      const error = await subscriber.done;
      assert.equal(subscriber.history.end, 'TOKEN_EXPIRED');
      await refused(Promise.reject(error), EXPIRED);
      subscriber = subscriber.resume(await soon());
    }
    writing = false;
    await written;
    const truth = await truthOf(secured.database, [backupId]);
    await subscriber.received(truth.length);
    await subscriber.cancel();
    assert.ok(truth.length > 100);
    subscriber.history.complete(truth);
  });

  it('is ended when it is a tail of everything, or a silent one', async () => {
    const client = await soon();
    await using all = new Subscriber(client, { everything: true, follow: true });
    await using silent = new Subscriber(client, { backupIds: [newBackupId()], follow: true });
    for (const subscriber of [all, silent]) {
      await refused(Promise.reject(await subscriber.done), EXPIRED);
      assert.equal(subscriber.history.end, 'TOKEN_EXPIRED');
      assert.ok(subscriber.history.token);
    }
    await forgotten();
  });

  it('has no resume token when it told nothing before, so that who comes back starts as before', async () => {
    const backupId = newBackupId();
    await append(lasting, backupId, ['one', 'two']);
    // The database is held up until the token has expired.
    const everything = 'lock table backup_logs, backup_log_heads, backup_controllers in access exclusive mode';
    const lock = await locked(secured.database, everything);
    const client = await soon();
    const requests = [{ backupIds: [backupId] }, { everything: true }].map(logs => ({ ...logs, follow: true }));
    const subscribers = requests.map(request => new Subscriber(client, request));
    await eventually(() => refused(client.health.check({}), EXPIRED));
    await lock[Symbol.asyncDispose]();
    for (const subscriber of subscribers) {
      await refused(Promise.reject(await subscriber.done), EXPIRED);
      const { events, token } = subscriber.history;
      assert.deepEqual([events.map(event => event.case), token], [['end'], '']);
    }
  });

  it('is ended when it is a watch', async () => {
    const told: (WatchEnd_Reason | 'token')[] = [];
    const watching = async () => {
      for await (const { end, resumeToken } of (await soon()).controllers.watchControllers({})) {
        if (end) told.push(end.reason);
        if (resumeToken) told.push('token');
      }
    };
    await refused(watching(), EXPIRED);
    assert.equal(told.at(-1), WatchEnd_Reason.TOKEN_EXPIRED);
    assert.ok(told.includes('token'));
  });

  it('is ended when it is of health or of reflection', async () => {
    const token = await issuer.token('read', { lifetime: 4 });
    const { promise: silence } = Promise.withResolvers<never>();
    const questions = async function* () {
      yield { messageRequest: { case: 'listServices', value: '' } } as const;
      await silence;
    };
    const channel = secured.channel({ token });
    const asked = createClient(ServerReflection, channel).serverReflectionInfo(questions());
    const watched = createClient(Health, channel).watch({});
    await Promise.all([asked, watched].map(stream => refused(all(stream), EXPIRED)));
    await forgotten();
  });

  it('acknowledges what it has kept when it ingests, and goes on behind that', async () => {
    const backupId = newBackupId();
    const begin = startOf({ backupId });
    const open = Promise.withResolvers<never>();
    const some = async function* () {
      yield begin;
      for (let i = 1; i <= 3; i++) yield batch(i, [`line ${i}`]);
      await open.promise;
    };
    const { told, fault } = await ingest(await soon(), some());
    assert.equal(status[fault!.code], 'UNAUTHENTICATED');
    const last = told.at(-1)!;
    assert.ok(last.case === 'end' && last.value.reason === IngestEnd_Reason.TOKEN_EXPIRED);
    assert.equal(kept(told), 3n);
    const { told: more } = await ingest(lasting, [begin, batch(4, ['line 4'])]);
    assert.equal(kept(more), 4n);
    const { entries } = await lasting.logs.listLogs({ backupId });
    assert.deepEqual(
      entries.map(({ message }) => message),
      ['line 1', 'line 2', 'line 3', 'line 4'],
    );
  });

  it('leaves nothing behind when it is an upload', async () => {
    const backupId = await newBackup(lasting);
    const chunks = () => secured.database.query('select from backup_payload_chunks where backupid = $1', [backupId]);
    const stored = async () => assert.notDeepEqual(await chunks(), []);
    const halted = Promise.withResolvers<never>();
    const half = async function* () {
      yield start({ backupId });
      for (let i = 0; i < 16; i++) yield chunk(randomBytes(1024 * 1024));
      await halted.promise;
    };
    const refusal = refused((await soon()).controllers.uploadPayload(half()), EXPIRED);
    await eventually(stored);
    await refusal;
    await forgotten();
    assert.deepEqual(await chunks(), []);
    const bytes = randomBytes(1000);
    await lasting.controllers.uploadPayload(parts({ backupId }, bytes));
    assert.deepEqual(await downloaded(lasting, backupId), bytes);
  });

  it('is ended when it is a download that is taken slowly', async () => {
    const backupId = await newBackup(lasting);
    await lasting.controllers.uploadPayload(parts({ backupId }, randomBytes(32 * 1024 * 1024)));
    const client = await soon();
    const late = eventually(async () => {
      const answer = await client.controllers.getController({ backupId }).catch((error: ServiceError) => error.code);
      assert.equal(answer, status.UNAUTHENTICATED);
    });
    let finished = false;
    const downloading = async () => {
      for await (const { part } of client.controllers.downloadPayload({ backupId })) {
        await late;
        finished ||= part.case === 'finish';
      }
    };
    await refused(downloading(), EXPIRED);
    assert.equal(finished, false);
  });

  it('is not touched when its token has time', async () => {
    await using subscriber = new Subscriber(lasting, { backupIds: [newBackupId()], follow: true });
    await subscriber.told('caughtUp');
    await refused(
      (async () => {
        for await (const _ of (await soon()).health.watch({}));
      })(),
      EXPIRED,
    );
    await append(lasting, subscriber.request.backupIds![0]!, ['still here']);
    await subscriber.received(1);
  });
});

async function all(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}
