import type { LogService } from '../gen/backup/v1/log_pb.ts';
import type { Handlers } from '../grpc/bind.ts';
import { ALL_LEVELS } from '../log/page.ts';
import type { Tokens } from '../tokens.ts';
import { startOf, toResponse } from './message.ts';
import { type TailSource, tail } from './tail.ts';

type Needs = { source: TailSource; tokens: Tokens; writeTimeoutMs: number };

export function tailService({ source, tokens, writeTimeoutMs }: Needs): Pick<Handlers<typeof LogService>, 'tailLogs'> {
  const limits = { ...source.options, writeTimeoutMs };
  return {
    async *tailLogs(request, context) {
      const wanted = {
        backupIds: request.backupIds,
        start: startOf(request, tokens),
        maxLevel: request.maxLevel || ALL_LEVELS,
        follow: request.follow || request.untilFinished,
        untilFinished: request.untilFinished,
      };
      for await (const event of tail(source, wanted, context)) yield toResponse(event, tokens, limits);
    },
  };
}
