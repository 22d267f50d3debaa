import type { Standby } from './db/standby/standby.ts';
import type { ReadHistory } from './tail/watched.ts';

/**
 * What may be read from a standby (`DATABASE_READ_URL`). All of it finds whatever was answered before the call began, or is as far behind as
 * READ_LAG allows; a page that continues a list is never behind, because the page before may have come from the primary. Keysets and ids are the
 * same on both, so pages and tails go from one to the other and back.
 *
 * The rest stays at the primary, for these reasons:
 * - GetController, BatchGetControllers, GetCourse: what is changed next by the etag that they give; one that is old is refused.
 * - Claims, reports, finishes, leases, appends, fences, answers to requests: they write, or decide about a write.
 * - WatchControllers, and a tail once it has caught up: they are woken by what has just been committed, and would wait for the standby each time.
 * - Where a tail begins and how far its log goes (heads, positions, seals, what retention has removed): by that the pages of a standby are judged.
 * - DownloadPayload: whether a missing chunk is damage or a newer payload is decided by what is there now.
 * - DescribeReplica, health, metrics: they tell of the primary.
 */
export const READ_AT_STANDBY = {
  controllers: ['listControllers', 'summarizeControllers'],
  courses: ['listCourses', 'listCourseRuns', 'summarizeCourses'],
  logs: ['listLogs', 'summarizeLogs'],
} as const;

/** The handlers, those of these methods reading from the standby, if there is one. */
export function readingFrom<H extends object>(
  standby: Standby | undefined,
  methods: readonly (keyof H)[],
  handlers: H,
): H {
  if (!standby) return handlers;
  const aside = methods.map(method => {
    const handle = handlers[method] as Unary;
    const read: Unary = (request, context) =>
      standby.read(() => handle(request, context), { continued: Boolean(request.pageToken) });
    return [method, read];
  });
  return { ...handlers, ...Object.fromEntries(aside) };
}

type Unary = (request: { pageToken?: string }, context: unknown) => Promise<object>;

/**
 * Pages of history from the standby, if there is one. The head of the log was read from the primary before, so a page that is shorter than that
 * says, or finds the log cut or diverged, is not believed.
 */
export function historyFrom(standby: Standby | undefined): ReadHistory | undefined {
  return (
    standby &&
    (read =>
      standby.read(read, {
        continued: true,
        believed: page => typeof page !== 'string' && page.end.fingerprint !== '',
      }))
  );
}
