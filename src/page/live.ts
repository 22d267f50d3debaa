import { type MessageInitShape, toJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Status, WatchControllersResponseSchema } from '../gen/backup/v1/controller_pb.ts';
import { LogLevel } from '../gen/backup/v1/entry_pb.ts';
import { type TailLogsRequestSchema, type TailLogsResponse, TailLogsResponseSchema } from '../gen/backup/v1/log_pb.ts';
import type { Origin } from '../grpc/local.ts';
import type { Services } from './services.ts';
import type { Told } from './stream.ts';

/** The runs that are executing, and every change of them. */
export async function* runs({ controllers }: Services, token: string, origin: Origin): AsyncGenerator<Told> {
  const request = { filter: { statuses: [Status.EXECUTING] }, resumeToken: token };
  for await (const response of controllers.watchControllers(request, origin)) {
    const { resumeToken } = response;
    response.resumeToken = '';
    yield { token: resumeToken, message: toJson(WatchControllersResponseSchema, response) };
  }
}

/** Of one log its last lines, of all logs what they have of the last minutes; and every line that comes, at a level or a more important one. */
export async function* lines(
  { logs }: Services,
  query: URLSearchParams,
  token: string,
  origin: Origin,
): AsyncGenerator<Told> {
  const backupId = query.get('backup');
  const request: MessageInitShape<typeof TailLogsRequestSchema> = {
    ...(backupId ? { backupIds: [backupId] } : { everything: true }),
    start: token ? { case: 'resumeToken', value: token } : backupId ? lastLines : justNow(),
    maxLevel: levels[query.get('level') ?? ''] ?? LogLevel.DEBUG,
    follow: true,
  };
  for await (const response of logs.tailLogs(request, origin)) {
    const resumeToken = takeToken(response);
    for (const entry of response.event.case === 'entries' ? response.event.value.entries : []) {
      if (entry.message.length > LONGEST) entry.message = shortened(entry.message);
    }
    yield { token: resumeToken, message: toJson(TailLogsResponseSchema, response) };
  }
}

const levels: Record<string, LogLevel> = {
  error: LogLevel.ERROR,
  warning: LogLevel.WARNING,
  info: LogLevel.INFO,
  debug: LogLevel.DEBUG,
};

const lastLines = { case: 'last', value: 500 } as const;

function justNow() {
  return { case: 'since', value: timestampFromMs(Date.now() - 5 * 60_000) } as const;
}

/** It is the event's id; in its text it would be there twice. */
function takeToken({ event }: TailLogsResponse): string {
  if (event.value === undefined || !('resumeToken' in event.value)) return '';
  const { resumeToken } = event.value;
  event.value.resumeToken = '';
  return resumeToken;
}

/** In characters; a browser keeps 2,000 lines. */
const LONGEST = 4000;

function shortened(message: string): string {
  return `${message.slice(0, LONGEST).toWellFormed()} … (${message.length.toLocaleString('en')} characters)`;
}
