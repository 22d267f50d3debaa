import { strict as assert } from 'node:assert';
import { randomInt } from 'node:crypto';
import type { DescMethod, JsonValue, Message, MessageShape } from '@bufbuild/protobuf';
import {
  ControllerService,
  Execution,
  Operation,
  Outcome,
  Purpose,
  Status,
  Type,
  WatchEnd_Reason,
} from '../../src/gen/backup/v1/controller_pb.ts';
import { CourseService, CourseStatus } from '../../src/gen/backup/v1/course_pb.ts';
import { LogLevel } from '../../src/gen/backup/v1/entry_pb.ts';
import { ErrorReason } from '../../src/gen/backup/v1/error_pb.ts';
import { IngestEnd_Reason, LogService, TailEnd_Reason } from '../../src/gen/backup/v1/log_pb.ts';
import { ReplicaService } from '../../src/gen/backup/v1/replica_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../../src/gen/health/v1/health_pb.ts';
import type { Backend } from './backend.ts';

/** A controller with one log entry, one that waits for a worker, one that a worker holds, one that failed, and a course. */
export type Given = {
  backupId: string;
  waitingId: string;
  heldId: string;
  failedId: string;
  leaseToken: string;
  courseId: string;
  dueCourseId: string;
};

/** The request of a method that takes a stream is a list. */
export type Example = {
  method: DescMethod;
  request(given: Given): JsonValue;
  check(answers: Message[], given: Given): void;
};

/** A request in JSON, and what its answers should be. */
function example<M extends DescMethod>(
  method: M,
  request: (given: Given) => JsonValue,
  check: (answers: MessageShape<M['output']>[], given: Given) => void,
): Example {
  return { method, request, check };
}

const berlin = { timeZone: 'Europe/Berlin', weekly: { weekdays: '1111111', hour: 2, minute: 30 } };

/** A call of every method, as a program makes it that knows JSON. */
export function examples(): Example[] {
  const { method: controllers } = ControllerService;
  const { method: courses } = CourseService;
  const { method: logs } = LogService;
  return [
    example(
      controllers.createController,
      () => ({ operation: 'OPERATION_RESTORE', itemId: '9007199254740993', purpose: 'PURPOSE_ASYNC', payload: 'AQID' }),
      ([answer]) => {
        assert.equal(answer?.controller?.itemId, 9007199254740993n);
        assert.equal(answer.controller.execution, Execution.DELAYED);
        assert.equal(answer.controller.checksum, '5289df737df57326fcdd22597afb1fac');
      },
    ),
    example(
      controllers.getController,
      ({ backupId }) => ({ backupId, view: 'CONTROLLER_VIEW_FULL' }),
      ([answer], { backupId }) => {
        assert.equal(answer?.controller?.backupId, backupId);
        assert.deepEqual([...answer.controller.payload], [1, 2, 3]);
      },
    ),
    example(
      controllers.batchGetControllers,
      ({ backupId }) => ({ backupIds: [backupId, 'f'.repeat(32)] }),
      ([answer], { backupId }) => {
        assert.deepEqual(
          answer?.controllers.map(controller => controller.backupId),
          [backupId],
        );
        assert.deepEqual(answer.missingBackupIds, ['f'.repeat(32)]);
      },
    ),
    example(
      controllers.listControllers,
      () => ({ filter: { statuses: ['STATUS_CREATED'] }, pageSize: 1 }),
      ([answer], { backupId }) => {
        assert.equal(answer?.controllers[0]?.backupId, backupId);
      },
    ),
    example(
      controllers.updateController,
      ({ backupId }) => ({ backupId, controller: { progress: 0.25 }, updateMask: 'progress' }),
      ([answer]) => assert.equal(answer?.controller?.progress, 0.25),
    ),
    example(
      controllers.transitionController,
      ({ backupId }) => ({ backupId, from: 'STATUS_CREATED', to: 'STATUS_PLANNED' }),
      ([answer]) => assert.equal(answer?.controller?.status, Status.PLANNED),
    ),
    example(
      controllers.deleteController,
      ({ backupId }) => ({ backupId }),
      ([answer]) => assert.equal(answer?.deletedLogEntries, 1n),
    ),
    example(
      controllers.claimControllers,
      () => ({ worker: 'abroad', maxControllers: 1000, leaseDuration: '1.5s', wait: '5s' }),
      ([answer], { waitingId }) => {
        const [one] = answer!.claimed.filter(({ controller }) => controller?.backupId === waitingId);
        assert.equal(one?.controller?.lease?.worker, 'abroad');
        assert.match(one.leaseToken, /^[0-9a-f-]{36}$/);
      },
    ),
    example(
      controllers.reportProgress,
      ({ heldId, leaseToken, backupId }) => ({
        reports: [
          { backupId: heldId, leaseToken, progress: 0.5 },
          { backupId, leaseToken },
        ],
      }),
      ([answer]) => {
        assert.deepEqual(
          answer?.results.map(({ progress, error }) => [progress, error?.reason]),
          [
            [0.5, undefined],
            [0, ErrorReason.LEASE_LOST],
          ],
        );
      },
    ),
    example(
      controllers.finishControllers,
      ({ heldId, leaseToken }) => ({
        finishes: [{ backupId: heldId, leaseToken, outcome: 'OUTCOME_FAILED', reason: 'the disk is full' }],
      }),
      ([answer]) => {
        assert.deepEqual(
          answer?.results.map(({ status, outcome, sealedId }) => [status, outcome, sealedId]),
          [[Status.FINISHED_ERR, Outcome.FAILED, 1n]],
        );
      },
    ),
    example(
      controllers.releaseController,
      ({ heldId, leaseToken }) => ({ backupId: heldId, leaseToken, executionTime: '2030-01-01T00:00:00Z' }),
      ([answer]) => assert.equal(answer?.controller?.status, Status.AWAITING),
    ),
    example(
      controllers.cancelController,
      ({ heldId }) => ({ backupId: heldId, reason: 'no longer wanted' }),
      ([answer]) => assert.ok(answer?.controller?.cancelRequestTime),
    ),
    example(
      controllers.retryController,
      ({ failedId }) => ({ backupId: failedId }),
      ([answer]) => assert.equal(answer?.controller?.status, Status.AWAITING),
    ),
    example(
      controllers.watchControllers,
      ({ backupId }) => ({ backupIds: [backupId], untilFinished: true }),
      (answers, { backupId }) => {
        assert.deepEqual([answers[0]?.reset, answers[0]?.controllers[0]?.backupId], [true, backupId]);
        assert.equal(answers.at(-1)?.end?.reason, WatchEnd_Reason.FINISHED);
      },
    ),
    example(
      controllers.uploadPayload,
      ({ heldId, leaseToken }) => [
        { start: { backupId: heldId, leaseToken } },
        { chunk: 'AQ==' },
        { chunk: 'AgM=' },
        { finish: { checksum: '5289df737df57326fcdd22597afb1fac' } },
      ],
      ([answer]) => assert.equal(answer?.size, 3n),
    ),
    example(
      controllers.downloadPayload,
      ({ heldId }) => ({ backupId: heldId }),
      answers => {
        const chunks = answers.flatMap(({ part }) => (part.case === 'chunk' ? [...part.value] : []));
        assert.deepEqual(chunks, [1, 2, 3]);
        assert.equal(answers.at(-1)?.part.case, 'finish');
      },
    ),
    example(
      controllers.summarizeControllers,
      () => ({ filter: { operation: 'OPERATION_BACKUP' } }),
      ([answer]) => assert.ok(answer!.total > 0n && answer!.statuses.length === 10),
    ),
    example(
      controllers.purgeControllers,
      () => ({ olderThan: '86400s', dryRun: true }),
      ([answer]) => assert.equal(answer?.controllers, 0n),
    ),
    example(
      courses.getCourse,
      ({ courseId }) => ({ courseId }),
      ([answer], { courseId }) => assert.equal(answer?.course?.courseId, BigInt(courseId)),
    ),
    example(
      courses.listCourses,
      () => ({ filter: { neverRun: true }, pageSize: 1000 }),
      ([answer], { courseId }) => assert.ok(answer?.courses.some(course => course.courseId === BigInt(courseId))),
    ),
    example(
      courses.upsertCourses,
      ({ courseId }) => ({ courses: [{ courseId, nextStartTime: '2030-01-01T00:00:00Z' }] }),
      ([answer]) => {
        assert.equal(answer?.courses[0]?.nextStartTime?.seconds, 1893456000n);
        assert.equal(answer.created, 0);
      },
    ),
    example(
      courses.runCourseNow,
      ({ courseId }) => ({ courseId }),
      ([answer]) => assert.equal(answer?.course?.lastStatus, CourseStatus.QUEUED),
    ),
    example(
      courses.claimDueCourses,
      () => ({ worker: 'abroad', maxCourses: 1000, userId: '2' }),
      ([answer], { dueCourseId }) => {
        const one = answer?.claimed.find(({ course }) => course?.courseId === BigInt(dueCourseId));
        assert.deepEqual([one?.controller?.userId, one?.slotTime?.seconds], [2n, 1000n]);
      },
    ),
    example(
      courses.skipCourse,
      ({ courseId }) => ({ courseId, reason: 'nothing has changed', nextStart: { schedule: berlin } }),
      ([answer]) => {
        assert.equal(answer?.course?.lastStatus, CourseStatus.SKIPPED);
        assert.ok(answer.course.nextStartTime);
      },
    ),
    example(
      courses.listCourseRuns,
      ({ dueCourseId }) => ({ filter: { courseId: dueCourseId, kinds: ['COURSE_RUN_KIND_SKIPPED'] } }),
      ([answer]) => assert.equal(answer?.runs.length, 0),
    ),
    example(
      courses.nextStartTimes,
      () => ({ schedule: berlin, from: '2026-03-28T12:00:00Z', count: 2 }),
      ([answer]) =>
        assert.deepEqual(
          answer?.startTimes.map(({ seconds }) => seconds),
          ['2026-03-29T01:00:00Z', '2026-03-30T00:30:00Z'].map(time => BigInt(Date.parse(time) / 1000)),
        ),
    ),
    example(
      courses.summarizeCourses,
      () => ({ filter: { statuses: ['COURSE_STATUS_NOT_YET_RUN'] } }),
      ([answer]) => assert.ok(answer!.total > 0n && answer!.statuses.length === 7),
    ),
    example(
      courses.deleteCourse,
      ({ courseId }) => ({ courseId }),
      answers => assert.equal(answers.length, 1),
    ),
    example(
      logs.appendLogs,
      ({ backupId }) => ({ backupId, entries: [{ level: 'LOG_LEVEL_ERROR', message: 'größer' }] }),
      ([answer]) => assert.equal(answer?.lastId, 2n),
    ),
    example(
      logs.listLogs,
      ({ backupId }) => ({ backupId, maxLevel: 'LOG_LEVEL_INFO' }),
      ([answer]) => {
        assert.equal(answer?.entries[0]?.message, 'hello');
        assert.equal(answer.entries[0].level, LogLevel.INFO);
      },
    ),
    example(
      logs.tailLogs,
      ({ backupId }) => ({ backupIds: [backupId], afterId: '0' }),
      answers => {
        const entries = answers.flatMap(({ event }) => (event.case === 'entries' ? event.value.entries : []));
        assert.deepEqual(
          entries.map(({ id, message }) => [id, message]),
          [[1n, 'hello']],
        );
        const last = answers.at(-1)?.event;
        assert.ok(last?.case === 'end');
        assert.equal(last.value.reason, TailEnd_Reason.NOT_FOLLOWING);
      },
    ),
    example(
      logs.ingestLogs,
      ({ heldId, leaseToken }) => [
        { start: { backupId: heldId, leaseToken, writerId: '01234567-89ab-4def-8123-456789abcdef' } },
        { batch: { number: '1', entries: [{ level: 'LOG_LEVEL_INFO', message: 'one' }] } },
        { batch: { number: '2', entries: [{ level: 'LOG_LEVEL_INFO', message: 'two' }] } },
      ],
      answers => {
        const events = answers.map(({ event }) => event);
        assert.equal(events[0]?.case, 'started');
        const [last, end] = events.slice(-2);
        assert.ok(last?.case === 'acknowledged' && end?.case === 'end');
        assert.deepEqual([last.value.lastNumber, end.value.reason], [2n, IngestEnd_Reason.FINISHED]);
      },
    ),
    example(
      logs.summarizeLogs,
      ({ backupId }) => ({ backupId }),
      ([answer]) => {
        assert.equal(answer?.levels.length, 4);
        assert.ok(answer.total >= 1n && answer.firstTime);
      },
    ),
    example(
      logs.purgeLogs,
      ({ backupId }) => ({ backupId, dryRun: true }),
      ([answer], { backupId }) => {
        assert.deepEqual([answer?.entries, answer?.logs, answer?.sampleBackupIds], [1n, 1n, [backupId]]);
      },
    ),
    example(
      ReplicaService.method.describeReplica,
      () => ({}),
      ([answer]) => {
        assert.match(answer?.replicaId ?? '', /^[0-9a-f]{32}$/);
        assert.equal(answer?.database?.reachable, true);
        assert.deepEqual(answer.schema?.missing, []);
      },
    ),
    example(
      Health.method.check,
      () => ({ service: 'backup.v1.LogService' }),
      ([answer]) => assert.equal(answer?.status, Serving.SERVING),
    ),
    example(
      Health.method.list,
      () => ({}),
      ([answer]) => assert.equal(answer?.statuses['']?.status, Serving.SERVING),
    ),
  ];
}

/** Makes what the examples are about. */
export async function prepare({ controllers, courses, logs }: Backend): Promise<Given> {
  const backup = { operation: Operation.BACKUP, type: Type.COURSE, payload: Uint8Array.of(1, 2, 3) };
  const { controller } = await controllers.createController({ ...backup, purpose: Purpose.GENERAL });
  const { backupId } = controller!;
  await logs.appendLogs({ backupId, entries: [{ level: LogLevel.INFO, message: 'hello' }] });
  const courseId = randomInt(1, 2 ** 40);
  const dueCourseId = courseId + 1;
  await courses.upsertCourses({
    courses: [{ courseId: BigInt(courseId) }, { courseId: BigInt(dueCourseId), nextStartTime: { seconds: 1000n } }],
  });
  const queued = { ...backup, purpose: Purpose.ASYNC, status: Status.AWAITING, itemId: BigInt(courseId) };
  const waiting = await controllers.createController(queued);
  const failed = await controllers.createController(queued);
  await controllers.cancelController({ backupId: failed.controller!.backupId });
  const format = `f${courseId}`.slice(0, 20);
  await controllers.createController({ ...queued, format });
  const { claimed } = await controllers.claimControllers({ worker: 'w', filter: { format } });
  return {
    backupId,
    waitingId: waiting.controller!.backupId,
    heldId: claimed[0]!.controller!.backupId,
    leaseToken: claimed[0]!.leaseToken,
    failedId: failed.controller!.backupId,
    courseId: String(courseId),
    dueCourseId: String(dueCourseId),
  };
}
