import { type DescEnumValue, getOption } from '@bufbuild/protobuf';
import { code, type ErrorReason } from '../../src/gen/backup/v1/error_pb.ts';
import { Code, CodeSchema } from '../../src/gen/google/rpc/code_pb.ts';
import { commentOf } from './comment.ts';
import { paragraphs, slug, table } from './markdown.ts';
import type { Proto } from './proto.ts';

/** Every reason with its code, and who says it. */
export function errorsPage(proto: Proto): string {
  const type = proto.files.flatMap(file => file.enums).find(({ name }) => name === 'ErrorReason')!;
  const [, ...reasons] = type.values;
  return paragraphs(
    '# Errors',
    proto.linked(commentOf(type)),
    'Methods name the reasons that are their own; any of the others may answer any call.',
    table(
      ['reason', 'code', 'what it means', 'what to do', 'named by'],
      reasons.map(reason => [
        `<a id="${slug(reason.localName)}"></a>\`${reason.localName}\` ${reason.number}`,
        CodeSchema.value[getOption(reason, code)]!.name,
        proto.linked(commentOf(reason)),
        whatToDo(reason),
        namedBy(proto, reason),
      ]),
    ),
  );
}

function whatToDo(reason: DescEnumValue): string {
  const { localName } = reason;
  return BY_REASON[localName as keyof typeof ErrorReason] ?? BY_CODE[getOption(reason, code)]!;
}

function namedBy(proto: Proto, { localName }: DescEnumValue): string {
  const methods = proto.services
    .flatMap(service => service.methods)
    .filter(method => new RegExp(`[( ]${localName}[,)]`).test(commentOf(method)));
  return methods.map(proto.linkToMethod).join(', ');
}

const MEND = 'Mend the call; the same one is always refused';
const LATER = 'Send the same call again after the time that `RetryInfo` names';

const BY_CODE: Record<number, string> = {
  [Code.OK]: '',
  [Code.CANCELLED]: 'Nothing: the caller wanted it',
  [Code.UNKNOWN]: 'Report it',
  [Code.INVALID_ARGUMENT]: MEND,
  [Code.DEADLINE_EXCEEDED]: 'Look whether it was done, or send it again with its request id',
  [Code.NOT_FOUND]: 'Do without it, or make it',
  [Code.ALREADY_EXISTS]: 'Use the one that is there, or another id',
  [Code.PERMISSION_DENIED]: 'Have the scope given to the caller',
  [Code.RESOURCE_EXHAUSTED]: LATER,
  [Code.FAILED_PRECONDITION]: 'Bring about what is missing, and call again',
  [Code.ABORTED]: 'Read again, decide again, call again',
  [Code.OUT_OF_RANGE]: 'Go on with the number that is named',
  [Code.UNIMPLEMENTED]: MEND,
  [Code.INTERNAL]: "Report it with the id that `RequestInfo` has; the service's log tells more",
  [Code.UNAVAILABLE]: LATER,
  [Code.DATA_LOSS]: 'Send or fetch it again; when that does not help, it is damaged where it is stored',
  [Code.UNAUTHENTICATED]: 'Come back with a token that proves who calls',
};

const BY_REASON: Partial<Record<keyof typeof ErrorReason, string>> = {
  PAGE_TOKEN_INVALID: 'Begin again with the first page',
  RESUME_TOKEN_INVALID: 'Begin again without the token',
  REQUEST_ID_REUSED: 'Make a new id for every new call',
  LEASE_LOST: 'Stop working on this run; somebody else may have it',
  CONTROLLER_LEASED: 'Wait for the worker, or cancel the run',
  CONTROLLER_FINISHED: 'Nothing: it has ended',
  EXCLUSIVE_TAKEN: 'Wait for the other run, or cancel it',
  ILLEGAL_TRANSITION: 'Take one of the steps that are named',
  WATCH_TOO_LARGE: 'Narrow the filter, or use several watches',
  COURSE_RUNNING: 'Wait for its run, or cancel that',
  HISTORY_DIVERGED: 'Forget what was delivered, and begin again without the token',
  WRITER_FORGOTTEN: 'Go on with a new writer id',
  CONFLICT: 'Send the same call again',
  TAIL_TOO_WIDE: 'Narrow the filter, or use several tails',
  MESSAGE_TOO_LARGE: 'Send less at a time, or payloads by UploadPayload',
  DRAINING: 'Connect again at once: another replica answers, and a tail goes on with its token',
  PAYLOAD_TOO_LARGE: 'Use UploadPayload and DownloadPayload, or raise PAYLOAD_MAX_BYTES',
};
