import type { LogService, TailFilter } from '../gen/backup/v1/log_pb.ts';
import type { Handlers } from '../grpc/bind.ts';
import type { RunFilter } from '../log/head.ts';
import { ALL_LEVELS } from '../log/page.ts';
import type { Tokens } from '../tokens.ts';
import { startOf, toResponse, toWideResponse, wideStartOf } from './message.ts';
import { type TailSource, tail } from './tail.ts';
import { tailMany } from './wide.ts';

type Needs = {
  source: TailSource;
  /** What a filter asks of the controller of a log. */
  toRunFilter(filter: TailFilter): RunFilter;
  tokens: Tokens;
  writeTimeoutMs: number;
};

export function tailService({
  source,
  toRunFilter,
  tokens,
  writeTimeoutMs,
}: Needs): Pick<Handlers<typeof LogService>, 'tailLogs'> {
  const limits = { ...source.options, writeTimeoutMs };
  return {
    async *tailLogs(request, context) {
      const maxLevel = request.maxLevel || ALL_LEVELS;
      const follow = request.follow || request.untilFinished;
      if (request.backupIds.length > 0) {
        const { backupIds, untilFinished } = request;
        const wanted = { backupIds, start: startOf(request, tokens), maxLevel, follow, untilFinished };
        for await (const event of tail(source, wanted, context)) yield toResponse(event, tokens, limits);
      } else {
        const filter = request.filter && toRunFilter(request.filter);
        const wanted = { filter, start: wideStartOf(request, tokens), maxLevel, follow };
        for await (const event of tailMany(source, wanted, context))
          yield toWideResponse(event, request.filter, tokens, limits);
      }
    },
  };
}
