import assert from 'node:assert/strict';
import { create, toBinary } from '@bufbuild/protobuf';
import { Metadata } from '@grpc/grpc-js';
import pg from 'pg';
import { ControllerService, CreateControllerRequestSchema } from '../../../src/gen/backup/v1/controller_pb.ts';
import { methodDefinition } from '../../../src/grpc/definition.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { endsWith, refused } from '../../support/status.ts';
import { backup, newId } from './requests.ts';

const MALFORMED = { code: 'INVALID_ARGUMENT', reason: 'MALFORMED_MESSAGE' } as const;

describe('ControllerService on the wire', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend({ settings: { MAX_MESSAGE_BYTES: '2000000', CALL_TIMEOUT: '4s' } });
  });
  after(() => backend[Symbol.asyncDispose]());

  const call = async (bytes: Buffer) => {
    const { path, requestSerialize, responseDeserialize } = methodDefinition(ControllerService.method.createController);
    return new Promise((resolve, reject) =>
      backend.channel.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        bytes,
        new Metadata(),
        {},
        (error, answer) => (error ? reject(error) : resolve(answer)),
      ),
    );
  };
  const good = Buffer.from(toBinary(CreateControllerRequestSchema, create(CreateControllerRequestSchema, backup())));

  it('refuses bytes that are no message', async () => {
    await call(good);
    for (const bytes of ['ff', '0aff', '08', `0a20${'61'.repeat(31)}`, '80'.repeat(11), 'ffffffffffffffffffff01']) {
      await refused(call(Buffer.from(bytes, 'hex')), MALFORMED);
    }
    await refused(call(good.subarray(0, -1)), MALFORMED);
  });

  it('refuses text that is not UTF-8', async () => {
    const format = (bytes: string) =>
      Buffer.concat([good, Buffer.from([0x2a, bytes.length / 2]), Buffer.from(bytes, 'hex')]);
    await call(format(Buffer.from('imscc1').toString('hex')));
    for (const bytes of ['ff', 'c3', 'c0af', 'eda080', 'f8808080']) await refused(call(format(bytes)), MALFORMED);
  });

  it('lets fields pass that it does not know', async () => {
    await call(Buffer.concat([good, Buffer.from('fa3e03616263', 'hex')]));
  });

  it('refuses a message that is too large', async () => {
    const large = backend.controllers.createController(backup({ payload: new Uint8Array(2_000_000) }));
    await endsWith(large, 'RESOURCE_EXHAUSTED');
    await backend.controllers.createController(backup());
  });

  it('answers a call that is cancelled, one that is past its deadline, and one that takes too long for the service', async () => {
    const { backupId } = (await backend.controllers.createController(backup())).controller!;
    const holder = new pg.Client({ connectionString: backend.database.url });
    await holder.connect();
    try {
      await holder.query('begin');
      await holder.query('select 1 from backup_controllers where backupid = $1 for update', [backupId]);
      const cancel = new AbortController();
      const cancelled = update(backupId, { signal: cancel.signal });
      await eventually(async () => {
        const waiting = await holder.query(
          "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
        );
        assert.equal(waiting.rowCount, 1);
      });
      cancel.abort();
      await endsWith(cancelled, 'CANCELLED');
      await endsWith(update(backupId, { timeoutMs: 100 }), 'DEADLINE_EXCEEDED');
      await refused(update(backupId), { code: 'DEADLINE_EXCEEDED', reason: 'DEADLINE_EXCEEDED' });
      await holder.query('rollback');
    } finally {
      await holder.end();
    }
    // Whatever became of the three, the row is free again and nothing is half done.
    const { controller } = await update(backupId);
    assert.equal(controller!.itemId, 7n);
  });

  it('answers a call that was cancelled before it began', async () => {
    await endsWith(update(newId(), { signal: AbortSignal.abort() }), 'CANCELLED');
  });

  function update(backupId: string, options = {}) {
    const updateMask = { paths: ['item_id'] };
    return backend.controllers.updateController({ backupId, controller: { itemId: 7n }, updateMask }, options);
  }
});
