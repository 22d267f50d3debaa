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
import { type Sql, sqlIn } from '../db/sql.ts';
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
  return orm.em.fork().transactional(async em => {
    if (!requestId) return change(em);
    const asked = { requestId, content: toBinary(method.input, request) };
    return onceIn(sqlIn(em), method, subject, asked, async () => {
      const answer = await change(em);
      await em.flush();
      return answer;
    });
  });
}

/** The same in a transaction that is there already, for requests that are streams: `content` is what makes two of them the same. */
export async function onceIn<O extends DescMessage>(
  sql: Sql,
  method: Method<DescMessage, O>,
  subject: string | bigint,
  { requestId, content }: { requestId: string; content: Uint8Array },
  change: () => Promise<MessageInitShape<O>>,
): Promise<MessageInitShape<O>> {
  if (!requestId) return change();
  const key = [String(subject), requestId];
  const digest = createHash('sha256').update(`${method.name}\0`).update(content).digest();
  // Another call with the same key is waited for here: its row is either committed then, with its answer, or gone.
  const taken = await sql({
    text: `insert into backup_requests (subject, requestid, digest, answer) values ($1, $2, $3, '') on conflict do nothing returning 1`,
    values: [...key, digest],
  });
  if (taken.length === 0) return firstAnswer(sql, method, key, digest);
  const answer = await change();
  const bytes = Buffer.from(toBinary(method.output, create(method.output, answer)));
  await sql({
    text: 'update backup_requests set answer = $3 where subject = $1 and requestid = $2',
    values: [...key, bytes],
  });
  return answer;
}

/** The subject of a request about many things: it has none to be kept with, and its id leads the key as well as any. */
export function subjectOfMany({ requestId }: { requestId: string }): string {
  return createHash('md5').update(requestId).digest('hex');
}

/** Whether a request id was used before, and what it was used for is done. */
export async function isAnswered(sql: Sql, subject: string | bigint, requestId: string): Promise<boolean> {
  const text = 'select from backup_requests where subject = $1 and requestid = $2';
  return (await sql({ text, values: [String(subject), requestId] })).length > 0;
}

type Method<I extends DescMessage, O extends DescMessage> = { name: string; input: I; output: O };

async function firstAnswer<O extends DescMessage>(
  sql: Sql,
  method: Method<DescMessage, O>,
  key: string[],
  digest: Buffer,
): Promise<MessageInitShape<O>> {
  const [first] = await sql<{ digest: Buffer; answer: Buffer }>({
    text: 'select digest, answer from backup_requests where subject = $1 and requestid = $2',
    values: key,
  });
  if (!first?.digest.equals(digest)) {
    throw new StatusError(ErrorReason.REQUEST_ID_REUSED, 'request_id: used before for something else');
  }
  return fromBinary(method.output, first.answer) as MessageInitShape<O>;
}
