import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { ControllerService } from '../../gen/backup/v1/controller_pb.ts';
import { Failure } from '../failure.ts';
import type { Session } from '../session.ts';
import { Transfer } from './transfer.ts';

/** To a file, which is there when it is complete and proved, or to standard output. */
export async function downloadPayload(
  session: Session,
  { force }: { force?: true },
  backupId: string,
  path = '-',
): Promise<void> {
  if (path === '-') {
    if (process.stdout.isTTY)
      throw new Failure('WRONG_USE', 'a payload is not for a terminal', 'name a file, or redirect standard output');
    return receive(session, backupId, chunk => session.screen.write(chunk));
  }
  if (!force && existsSync(path)) throw new Failure('WRONG_USE', `${path} is there already`, '--force replaces it');
  const part = `${path}.${randomBytes(4).toString('hex')}.part`;
  try {
    await using file = await open(part, 'wx', 0o600);
    await receive(session, backupId, async chunk => {
      await file.writeFile(chunk);
    });
    await file.sync();
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

async function receive(session: Session, backupId: string, write: (chunk: Uint8Array) => Promise<void>): Promise<void> {
  using transfer = new Transfer(session);
  let proved = false;
  for await (const { part } of session
    .client(ControllerService)
    .downloadPayload({ backupId }, { signal: session.signal })) {
    if (part.case === 'start') transfer.begin(Number(part.value.size));
    if (part.case === 'chunk') {
      await write(part.value);
      transfer.add(part.value);
    }
    if (part.case === 'finish') {
      const found = transfer.checksum();
      if (found !== part.value.checksum)
        throw new Failure('FAILED', `what arrived has the MD5 ${found}, and the payload ${part.value.checksum}`);
      proved = true;
    }
  }
  if (!proved) throw new Failure('UNAVAILABLE', 'the payload broke off');
  transfer.tell('downloaded');
}
