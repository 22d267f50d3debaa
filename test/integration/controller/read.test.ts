import assert from 'node:assert/strict';
import { ControllerView, Status } from '../../../src/gen/backup/v1/controller_pb.ts';
import { type Backend, startBackend } from '../../support/backend.ts';
import { refused } from '../../support/status.ts';
import { backup, newId, newNumber } from './requests.ts';

const NOT_FOUND = { code: 'NOT_FOUND', reason: 'CONTROLLER_NOT_FOUND' } as const;

describe('Reading controllers', () => {
  let backend: Backend;
  before(async () => {
    backend = await startBackend();
  });
  after(() => backend[Symbol.asyncDispose]());

  const create = async (more = {}) => (await backend.controllers.createController(backup(more))).controller!;
  const payloadOf = async (backupId: string, view: ControllerView) =>
    Buffer.from((await backend.controllers.getController({ backupId, view })).controller!.payload).toString();

  it('returns what was created', async () => {
    const created = await create({ itemId: newNumber(), status: Status.AWAITING });
    assert.deepEqual((await backend.controllers.getController({ backupId: created.backupId })).controller, created);
  });

  it('shows the payload in the full view of one controller, and nowhere else', async () => {
    const userId = newNumber();
    const { backupId } = await create({ userId, payload: Buffer.from('state') });
    assert.equal(await payloadOf(backupId, ControllerView.FULL), 'state');
    assert.equal(await payloadOf(backupId, ControllerView.BASIC), '');
    assert.equal(await payloadOf(backupId, ControllerView.UNSPECIFIED), '');
    const batch = await backend.controllers.batchGetControllers({ backupIds: [backupId] });
    const list = await backend.controllers.listControllers({ filter: { userId } });
    for (const { payload, checksum } of [...batch.controllers, ...list.controllers]) {
      assert.equal(payload.length, 0);
      assert.match(checksum, /^[0-9a-f]{32}$/);
    }
  });

  it('takes for text what others left in the column without base64', async () => {
    for (const text of ['O:17:"backup_controller":0:{}', 'not base64!', 'abc', 'ä']) {
      const { backupId } = await create();
      await setColumn(backupId, text);
      assert.equal(await payloadOf(backupId, ControllerView.FULL), text);
    }
  });

  it('refuses a payload that no message can carry, in the full view only', async () => {
    const { backupId } = await create();
    const most = 4 * 1024 * 1024 - 64 * 1024;
    await setColumn(backupId, '!'.repeat(most));
    assert.equal((await payloadOf(backupId, ControllerView.FULL)).length, most);
    await setColumn(backupId, '!'.repeat(most + 1));
    const full = backend.controllers.getController({ backupId, view: ControllerView.FULL });
    await refused(full, { code: 'FAILED_PRECONDITION', reason: 'PAYLOAD_TOO_LARGE' });
    assert.equal(await payloadOf(backupId, ControllerView.BASIC), '');
  });

  it('says when there is no such controller', async () => {
    const backupId = newId();
    const { message } = await refused(backend.controllers.getController({ backupId }), NOT_FOUND);
    assert.ok(message.includes(backupId));
  });

  it('returns many in the order of the request, and names those that are missing', async () => {
    const [a, b, c] = [await create(), await create(), await create()];
    const [x, y] = [newId(), newId()];
    for (const ids of [
      [c.backupId, x, a.backupId, y, b.backupId],
      [y, x],
      [b.backupId, a.backupId],
    ]) {
      const answer = await backend.controllers.batchGetControllers({ backupIds: ids });
      assert.deepEqual(
        answer.controllers.map(({ backupId }) => backupId),
        ids.filter(id => id !== x && id !== y),
      );
      assert.deepEqual(
        answer.missingBackupIds,
        ids.filter(id => id === x || id === y),
      );
    }
    const { controllers } = await backend.controllers.batchGetControllers({ backupIds: [a.backupId] });
    assert.deepEqual(controllers, [a]);
  });

  it('returns a thousand at once', async () => {
    const present = await Promise.all(Array.from({ length: 50 }, async () => (await create()).backupId));
    const backupIds = [...present, ...Array.from({ length: 950 }, newId)].sort();
    const answer = await backend.controllers.batchGetControllers({ backupIds });
    assert.deepEqual(
      answer.controllers.map(({ backupId }) => backupId),
      present.sort(),
    );
    assert.equal(answer.missingBackupIds.length, 950);
  });

  async function setColumn(backupId: string, text: string): Promise<void> {
    await backend.database.query('update backup_controllers set controller = $2 where backupid = $1', [backupId, text]);
  }
});
