import type { LogService } from '../gen/backup/v1/log_pb.ts';
import type { Handlers } from '../grpc/bind.ts';
import type { Keeping } from '../log/message.ts';
import { type IngestSource, ingest } from './ingest.ts';
import { toBatches, toIngestEvent, toWriter } from './message.ts';

type Needs = { source: IngestSource; keeping: Keeping };

export function ingestService({ source, keeping }: Needs): Pick<Handlers<typeof LogService>, 'ingestLogs'> {
  return {
    async *ingestLogs(requests, context) {
      const all = requests[Symbol.asyncIterator]();
      const { value: first } = await all.next();
      if (context.signal.aborted) return;
      const batches = toBatches({ [Symbol.asyncIterator]: () => all }, keeping);
      for await (const event of ingest(source, toWriter(first), batches, context)) {
        yield { event: toIngestEvent(event) };
      }
    },
  };
}
