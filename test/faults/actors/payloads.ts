import { strict as assert } from 'node:assert';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { newBackup } from '../../support/writing.ts';
import { Caller, type Entrance, type Scene } from '../caller.ts';

/** The MD5 of what was last acknowledged to be the payload, by backup id. */
export type Payloads = Map<string, string>;

const PIECES = 5;

/** Uploads payloads, over those before and for new runs, and downloads them again on whichever replica. */
export async function carryPayloads(name: string, scene: Scene, payloads: Payloads): Promise<void> {
  const caller = new Caller(name, scene, 1);
  let backupId = '';
  for (let i = 0; !scene.stop.aborted; i++) {
    if (i % 3 === 0) {
      const id = randomUUID().replaceAll('-', '');
      // Without a request id it is there already when the first answer was lost.
      backupId = await caller.ask(async replica =>
        newBackup(replica, id).catch(error => (error.details?.includes('exists') ? id : Promise.reject(error))),
      );
    }
    const bytes = randomBytes(PIECES * 40_000);
    const checksum = createHash('md5').update(bytes).digest('hex');
    const requestId = randomUUID();
    const answer = await caller.ask((replica, options) =>
      replica.controllers.uploadPayload(parts(backupId, requestId, bytes, checksum), options),
    );
    assert.equal(answer.size, BigInt(bytes.length));
    payloads.set(backupId, checksum);
    assert.equal(await caller.ask(replica => download(replica, backupId)), checksum, 'another payload came back');
  }
}

/** The MD5 of what the service has. */
export async function download({ controllers }: Entrance, backupId: string): Promise<string> {
  const digest = createHash('md5');
  for await (const { part } of controllers.downloadPayload({ backupId }, { timeoutMs: 20_000 }))
    if (part.case === 'chunk') digest.update(part.value);
  return digest.digest('hex');
}

function* parts(backupId: string, requestId: string, bytes: Buffer, checksum: string) {
  yield { part: { case: 'start', value: { backupId, requestId } } } as const;
  const length = bytes.length / PIECES;
  for (let i = 0; i < PIECES; i++)
    yield { part: { case: 'chunk', value: bytes.subarray(i * length, (i + 1) * length) } } as const;
  yield { part: { case: 'finish', value: { checksum } } } as const;
}
