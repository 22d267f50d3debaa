import { strict as assert } from 'node:assert';
import { randomInt } from 'node:crypto';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import {
  type Client,
  type ClientReadableStream,
  type ClientWritableStream,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import fc from 'fast-check';
import { ControllerService } from '../../src/gen/backup/v1/controller_pb.ts';
import { CourseService } from '../../src/gen/backup/v1/course_pb.ts';
import { LogService } from '../../src/gen/backup/v1/log_pb.ts';
import { ReplicaService } from '../../src/gen/backup/v1/replica_pb.ts';
import { ServerReflection } from '../../src/gen/grpc/reflection/v1/reflection_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../../src/gen/health/v1/health_pb.ts';
import { methodDefinition, methodName } from '../../src/grpc/definition.ts';
import { type Backend, connect, startBackend } from '../support/backend.ts';
import { eventually } from '../support/eventually.ts';
import { prepare } from '../support/examples.ts';
import { type Likely, scrambled } from '../support/scramble.ts';
import { detailsOf } from '../support/status.ts';
import { append, newBackupId } from '../support/writing.ts';

/** How many messages; `npm run test:fuzz` sends 100,000. */
const MESSAGES = Number(process.env['FUZZ_MESSAGES'] ?? 2000);
const SEED = Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 31));

/** At a time. */
const TOGETHER = 64;
const services: DescService[] = [
  ControllerService,
  CourseService,
  LogService,
  ReplicaService,
  Health,
  ServerReflection,
];

type Shot = { method: DescMethod; messages: Buffer[] };

describe(`Every method, with ${MESSAGES} messages that are right and wrong (FUZZ_SEED=${SEED})`, function () {
  this.timeout(600_000 + MESSAGES * 20);
  const codes = new Map<string, Map<string, number>>();
  let backend: Backend;
  let channel: Client;
  let sent = 0;
  const faults: unknown[] = [];
  const fault = (error: unknown) => faults.push(error);

  before(async () => {
    backend = await startBackend({ settings: { WRITE_TIMEOUT: '10s' } });
    process.on('unhandledRejection', fault);
  });

  after(async () => {
    process.off('unhandledRejection', fault);
    channel?.close();
    await backend[Symbol.asyncDispose]();
  });

  it('answers or refuses with a reason, and is neither at fault nor at its end', async () => {
    const likely = await likelies(backend);
    const shots = services.flatMap(service => service.methods).map(method => shotOf(method, likely));
    const volley = fc.array(fc.oneof(...shots), { minLength: TOGETHER, maxLength: TOGETHER });
    await fc.assert(
      fc.asyncProperty(volley, async all => {
        // Those who take back more than 33 calls a second, after the first 1000, lose their connection.
        if (sent % (20 * TOGETHER) === 0) {
          channel?.close();
          channel = connect(backend.address);
        }
        sent += all.length;
        await Promise.all(all.map(shot => fire(channel, shot, count)));
        assert.deepEqual(faults, []);
      }),
      {
        seed: SEED,
        numRuns: Math.ceil(MESSAGES / TOGETHER),
        endOnFailure: MESSAGES < 10_000,
        includeErrorInReport: true,
      },
    );
    assert.ok(sent >= MESSAGES);
    // Otherwise nothing has come any further than to the rules.
    const [reached, all] = [[...codes].filter(([, told]) => told.has('OK')), shots.length];
    if (MESSAGES >= 10_000)
      assert.ok(reached.length > all * 0.7, `${reached.length} of ${all} were ever answered with OK`);
    if (process.env['FUZZ_MESSAGES'])
      console.log(`${sent} messages, ${reached.length} of ${all} methods reached\n${told()}`);
  });

  it('still answers afterwards, with nothing that is still running', async () => {
    await eventually(() => assert.deepEqual([backend.app.admission.calls, backend.app.admission.streams], [0, 0]));
    assert.equal((await backend.health.check({})).status, Serving.SERVING);
    const backupId = newBackupId();
    assert.equal((await append(backend, backupId, ['after'])).lastId, 1n);
  });

  it('has left logs without gaps', async () => {
    const logs = await backend.database.query(
      `select h.backupid, h.lastid, count(l.id)::int as entries, min(l.id) as first, max(l.id) as last
       from backup_log_heads h left join backup_logs l using (backupid) group by h.backupid, h.lastid`,
    );
    for (const { backupid, lastid, entries, first, last } of logs) {
      if (entries === 0) continue;
      assert.equal(BigInt(entries as number), BigInt(last as string) - BigInt(first as string) + 1n, `${backupid}`);
      assert.equal(last, lastid);
    }
  });

  function count(method: DescMethod, code: string): void {
    const known = codes.get(methodName(method)) ?? new Map<string, number>();
    codes.set(methodName(method), known.set(code, (known.get(code) ?? 0) + 1));
  }

  function told(): string {
    return [...codes].map(([method, all]) => `${method} ${[...all].map(one => one.join(' ')).join(', ')}`).join('\n');
  }
});

function shotOf(method: DescMethod, likely: Likely): fc.Arbitrary<Shot> {
  const { requestStream } = methodDefinition(method);
  return fc
    .array(scrambled(method.input, likely), { minLength: 1, maxLength: requestStream ? 5 : 1 })
    .map(messages => ({ method, messages }));
}

/** Sends messages, reads some of what is answered, and judges what the call is refused with. */
async function fire(channel: Client, { method, messages }: Shot, count: (method: DescMethod, code: string) => void) {
  const { path, requestStream, responseStream } = methodDefinition(method);
  const same = (bytes: Buffer) => bytes;
  const limit = { deadline: Date.now() + 60_000 };
  const first = messages[0]!;
  const error = await new Promise<ServiceError | null>(resolve => {
    const answered = (error: ServiceError | null) => resolve(error);
    if (!responseStream) {
      if (!requestStream) channel.makeUnaryRequest(path, same, same, first, limit, answered);
      else sendAll(channel.makeClientStreamRequest(path, same, same, limit, answered), messages);
    } else if (!requestStream) listen(channel.makeServerStreamRequest(path, same, same, first, limit), resolve);
    else {
      const call = channel.makeBidiStreamRequest(path, same, same, limit);
      listen(call, resolve);
      sendAll(call, messages);
    }
  });
  const code = error ? status[error.code]! : 'OK';
  count(method, code);
  if (!error) return;
  const what = `${methodName(method)} ${code} ${error.details} ${messages.map(bytes => bytes.toString('hex').slice(0, 2000)).join(' ')}`;
  assert.ok(error.metadata.get('grpc-status-details-bin').length > 0, what);
  const { reason } = detailsOf(error.metadata).info ?? {};
  assert.ok(reason, what);
  const fault = /^(UNKNOWN|INTERNAL|DATA_LOSS|UNAVAILABLE|DEADLINE_EXCEEDED)$/.test(code);
  assert.ok(!fault || reason === 'CHECKSUM_MISMATCH', what);
}

function sendAll(call: ClientWritableStream<Buffer>, messages: Buffer[]): void {
  for (const bytes of messages) call.write(bytes);
  call.end();
}

/** A tail that follows has no end: whoever has heard this much, or for so long, has heard enough. */
function listen(call: ClientReadableStream<Buffer>, resolve: (error: ServiceError | null) => void): void {
  const enough = setTimeout(() => call.cancel(), 50);
  let answers = 0;
  call.on('data', () => {
    if (++answers > 5) call.cancel();
  });
  call.on('error', (error: ServiceError) => {
    clearTimeout(enough);
    resolve(error.code === status.CANCELLED ? null : error);
  });
  call.on('end', () => {
    clearTimeout(enough);
    resolve(null);
  });
}

/** What there is, by the names of the fields that ask for it. */
async function likelies(backend: Backend): Promise<Likely> {
  const given = await Promise.all(Array.from({ length: 5 }, () => prepare(backend)));
  const ids = given.flatMap(({ backupId, waitingId, heldId, failedId }) => [backupId, waitingId, heldId, failedId]);
  const tokens = given.map(({ leaseToken }) => leaseToken);
  const uuids = ['', '01234567-89ab-4def-8123-456789abcdef', '00000000-0000-4000-8000-000000000000'];
  const courses = given.flatMap(({ courseId, dueCourseId }) => [courseId, dueCourseId]);
  const few = ['0', '1', '2', '100'];
  return {
    backup_id: ids,
    backup_ids: ids,
    lease_token: ['', ...tokens],
    request_id: ['', '', ...uuids],
    writer_id: uuids.slice(1),
    worker: ['w', 'night shift'],
    course_id: courses,
    item_id: courses,
    user_id: few,
    page_size: few,
    page_token: [''],
    resume_token: [''],
    etag: [''],
    format: ['', 'moodle2'],
    checksum: ['', '5289df737df57326fcdd22597afb1fac'],
    time_zone: ['Europe/Berlin', 'UTC', 'America/New_York'],
    weekdays: ['1111111', '0111110'],
    cron: ['30 2 * * *', '*/5 * * * *', '0 0 29 2 *', '0 0 31 2 *', '* * * * *'],
    hour: ['0', '2', '23'],
    minute: ['0', '30', '59'],
    number: few,
    count: few,
    max_controllers: few,
    max_courses: few,
    max_attempts: few,
    paths: ['progress', 'payload', 'checksum', 'type', 'item_id', 'format', 'purpose', 'execution', 'execution_time'],
    message: ['a line', 'größer', ''],
    reason: ['', 'why not'],
    text: ['', 'line'],
    service: ['', 'backup.v1.LogService'],
    after_id: few,
    host: [''],
    file_by_filename: ['backup/v1/log.proto'],
    file_containing_symbol: ['backup.v1.LogService', 'backup.v1.LogService.TailLogs'],
  };
}
