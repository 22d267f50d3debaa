import { createHash } from 'node:crypto';
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { ErrorReason, StatusError } from '../errors.ts';

/**
 * Runs a change in a transaction, once: the same request id again gives the first answer and changes nothing, also when both come at the same
 * time or the first answer was lost between commit and client. The answer is written down in the transaction of the change, so there is
 * either both or neither; a refused change is not remembered.
 */
export function once<I extends DescMessage, O extends DescMessage>(
  orm: MikroORM,
  method: Method<I, O>,
  subject: string | bigint,
  request: MessageShape<I> & { requestId: string },
  change: (em: EntityManager) => Promise<MessageInitShape<O>>,
): Promise<MessageInitShape<O>> {
  const { requestId } = request;
  const content = requestId ? toBinary(method.input, request) : new Uint8Array();
  return onceFor(orm, method, subject, { requestId, content }, change);
}

/** The same for requests that are streams: `content` is what makes two of them the same. */
export function onceFor<O extends DescMessage>(
  orm: MikroORM,
  method: Method<DescMessage, O>,
  subject: string | bigint,
  { requestId, content }: { requestId: string; content: Uint8Array },
  change: (em: EntityManager) => Promise<MessageInitShape<O>>,
): Promise<MessageInitShape<O>> {
  return orm.em.fork().transactional(async em => {
    if (!requestId) return change(em);
    const key = [String(subject), requestId];
    const digest = createHash('sha256').update(`${method.name}\0`).update(content).digest();
    // Another call with the same key is waited for here: its row is either committed then, with its answer, or gone.
    const taken = await em.execute(
      `insert into backup_requests (subject, requestid, digest, answer) values (?, ?, ?, '') on conflict do nothing returning 1`,
      [...key, digest],
    );
    if (taken.length === 0) return firstAnswer(em, method, key, digest);
    const answer = await change(em);
    await em.flush();
    const bytes = Buffer.from(toBinary(method.output, create(method.output, answer)));
    await em.execute('update backup_requests set answer = ? where subject = ? and requestid = ?', [bytes, ...key]);
    return answer;
  });
}

/** Whether a request id was used before, and what it was used for is done. */
export async function isAnswered(em: EntityManager, subject: string | bigint, requestId: string): Promise<boolean> {
  const text = 'select 1 from backup_requests where subject = ? and requestid = ?';
  return (await em.execute(text, [String(subject), requestId])).length > 0;
}

type Method<I extends DescMessage, O extends DescMessage> = { name: string; input: I; output: O };

async function firstAnswer<O extends DescMessage>(
  em: EntityManager,
  method: Method<DescMessage, O>,
  key: string[],
  digest: Buffer,
): Promise<MessageInitShape<O>> {
  const [first] = await em.execute<{ digest: Buffer; answer: Buffer }[]>(
    'select digest, answer from backup_requests where subject = ? and requestid = ?',
    key,
  );
  if (!first?.digest.equals(digest)) {
    throw new StatusError(ErrorReason.REQUEST_ID_REUSED, 'request_id: used before for something else');
  }
  return fromBinary(method.output, first.answer) as MessageInitShape<O>;
}
