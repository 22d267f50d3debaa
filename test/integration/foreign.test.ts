import { strict as assert } from 'node:assert';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import {
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  fromJson,
  type JsonValue,
  type MessageShape,
} from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { ControllerService } from '../../src/gen/backup/v1/controller_pb.ts';
import { CourseService } from '../../src/gen/backup/v1/course_pb.ts';
import { LogService } from '../../src/gen/backup/v1/log_pb.ts';
import { ReplicaService } from '../../src/gen/backup/v1/replica_pb.ts';
import { BadRequestSchema, ErrorInfoSchema } from '../../src/gen/google/rpc/error_details_pb.ts';
import { ServerReflection } from '../../src/gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionAlpha } from '../../src/gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../../src/gen/health/v1/health_pb.ts';
import { methodName } from '../../src/grpc/definition.ts';
import { Authority } from '../support/authority.ts';
import { type Backend, startBackend, startReplica } from '../support/backend.ts';
import { eventually } from '../support/eventually.ts';
import { examples, prepare } from '../support/examples.ts';
import { Issuer } from '../support/issuer.ts';
import { run } from '../support/process.ts';
import { renewedToken, startSecured } from '../support/secured.ts';
import { append, finish, newBackup } from '../support/writing.ts';

const root = join(import.meta.dirname, '../..');
const python = '/usr/bin/python3';
const grpcio = spawnSync(python, ['-c', 'import grpc, google.protobuf']).status === 0;

/** A program that knows of the service what reflection tells it, takes JSON and prints JSON. */
type Foreign = {
  name: string;
  list(address: string): Run;
  call(address: string, method: DescMethod, request: JsonValue): Run;
  /** Looks at how an INVALID_FIELD was shown. */
  checkRefusal(ended: Ended): void;
};

for (const foreign of [bufCurl('grpc-v1'), bufCurl('grpc-v1alpha'), ...(grpcio ? [pythonGrpcio()] : [])]) {
  describe(foreign.name, () => {
    let backend: Backend;

    before(async () => {
      backend = await startBackend();
    });
    after(() => backend[Symbol.asyncDispose]());

    it('lists every method', async () => {
      const services = [
        ControllerService,
        CourseService,
        LogService,
        ReplicaService,
        Health,
        ServerReflection,
        ServerReflectionAlpha,
      ];
      const { code, stdout, stderr } = await foreign.list(backend.address).ended;
      assert.equal(code, 0, stderr);
      assert.deepEqual(stdout.trim().split('\n'), methodNames(...services));
    });

    for (const { method, request, check } of examples()) {
      it(`calls ${methodName(method)}`, async () => {
        const given = await prepare(backend);
        const ended = foreign.call(backend.address, method, request(given)).ended;
        // What is waited for has to come to an end.
        if (method.methodKind === 'server_streaming') await finish(backend, given.backupId);
        const { code, stdout, stderr } = await ended;
        assert.equal(code, 0, stderr);
        check(answers(method, stdout), given);
      });
    }

    it(`calls ${methodName(Health.method.watch)} until the service shuts down`, async () => {
      await using replica = await startReplica(backend.database.url);
      const watch = foreign.call(replica.address, Health.method.watch, {});
      await eventually(() => assert.match(watch.stdout, /"SERVING"/));
      await replica[Symbol.asyncDispose]();
      const { code, stdout, stderr } = await watch.ended;
      assert.equal(code, 0, stderr);
      assert.equal(answers(Health.method.watch, stdout).at(-1)?.status, Serving.NOT_SERVING);
    });

    it('has an example of every method', () => {
      const called = [...examples().map(({ method }) => methodName(method)), methodName(Health.method.watch)];
      assert.deepEqual(
        called.toSorted(),
        methodNames(ControllerService, CourseService, LogService, ReplicaService, Health),
      );
    });

    it('shows an error with its details', async () => {
      const { method } = LogService;
      foreign.checkRefusal(await foreign.call(backend.address, method.listLogs, { backupId: 'X' }).ended);
    });
  });
}

if (grpcio) {
  describe('examples/python', () => {
    let backend: Backend;

    before(async () => {
      backend = await startBackend();
    });
    after(() => backend[Symbol.asyncDispose]());

    it('has functions for methods with a stream of requests, too', async () => {
      const method = ServerReflection.method.serverReflectionInfo;
      const request = [{ host: 'a', listServices: '*' }, { fileByFilename: 'none' }];
      const { code, stdout, stderr } = await pythonGrpcio().call(backend.address, method, request).ended;
      assert.equal(code, 0, stderr);
      assert.deepEqual(
        answers(method, stdout).map(({ validHost, messageResponse }) => [validHost, messageResponse.case]),
        [
          ['a', 'listServicesResponse'],
          ['', 'errorResponse'],
        ],
      );
    });

    it('tails a log until its backup has finished, without generated code', async () => {
      const { code, stdout, stderr } = await runPython('examples/python/tail.py', backend.address).ended;
      assert.equal(code, 0, stderr);
      const lines = stdout
        .trim()
        .split('\n')
        .map(line => line.trim());
      assert.match(lines[0]!, /^backup [0-9a-f]{32}$/);
      assert.deepEqual(
        lines.filter(line => /^\d/.test(line)),
        [
          '1 LOG_LEVEL_INFO the plan has 3 tasks',
          '2 LOG_LEVEL_INFO the settings have their defaults',
          '3 LOG_LEVEL_INFO ready to run',
          '4 LOG_LEVEL_INFO writing the archive',
          '5 LOG_LEVEL_INFO the archive is written',
        ],
      );
      assert.deepEqual(lines.slice(-2), ['STATUS_FINISHED_OK', 'REASON_SEALED']);
    });

    it('follows logs into a file, each entry once, over tokens that expire and a kill', async () => {
      const issuer = await Issuer.create();
      const authority = await Authority.create();
      await using secured = await startSecured(authority, { issuer, settings: { TOKEN_SKEW: '1ms' } });
      const lasting = secured.as({ token: await issuer.token('read write work', { lifetime: 600 }) });
      using token = await renewedToken(secured, issuer, 'read');
      const folder = await mkdtemp(join(tmpdir(), 'follow-'));
      try {
        const backupId = await newBackup(lasting);
        const env = { CLIENT_TLS_CA: secured.files.path('authority.crt'), CLIENT_TOKEN_FILE: token.path };
        const address = secured.replica.address.replace('127.0.0.1', 'localhost');
        const follow = () => run(python, ['-B', 'examples/python/follow.py', address, folder, backupId], env);
        const written = async () => (await readFile(join(folder, 'log.txt'), 'utf8')).split('\n').slice(0, -1);
        let line = 0;
        const write = () => append(lasting, backupId, [`line ${++line}`]);
        await using first = follow();
        await write();
        await eventually(async () => assert.equal((await written()).length, 1));
        await eventually(async () => {
          await write();
          assert.match(first.output(), /TOKEN_EXPIRED/);
        });
        const seen = line;
        await write();
        await eventually(async () => assert.ok((await written()).length > seen));
        first.child.kill('SIGKILL');
        // As if it had been killed before it could keep the place.
        await appendFile(join(folder, 'log.txt'), 'what was written and not kept\n');
        await write();
        await using second = follow();
        await write();
        await finish(lasting, backupId);
        assert.equal(await second.exit(), 0, second.output());
        assert.deepEqual(
          await written(),
          Array.from({ length: line }, (_, i) => `${backupId} ${i + 1} LOG_LEVEL_INFO "line ${i + 1}"`),
        );
      } finally {
        await rm(folder, { recursive: true });
      }
    });
  });
} else {
  console.error(
    `\n*** ${python} has no grpcio: neither calls from Python nor examples/python ARE TESTED (apt-get install python3-grpcio) ***\n`,
  );
}

function bufCurl(reflection: string): Foreign {
  const curl = (url: string, ...flags: string[]) => {
    const always = [
      '--http2-prior-knowledge',
      '--protocol',
      'grpc',
      '--timeout',
      '15s',
      '--reflect-protocol',
      reflection,
    ];
    return new Run([join(root, 'node_modules/.bin/buf'), 'curl', ...always, ...flags, url]);
  };
  return {
    name: `buf curl by reflection ${reflection}`,
    list: address => curl(`http://${address}`, '--list-methods'),
    call: (address, method, request) =>
      curl(
        `http://${address}/${methodName(method)}`,
        '-d',
        [request]
          .flat()
          .map(part => JSON.stringify(part))
          .join('\n'),
      ),
    checkRefusal({ code, stderr }) {
      assert.equal(code, status.INVALID_ARGUMENT * 8);
      const error = JSON.parse(stderr);
      assert.equal(error.code, 'invalid_argument');
      const detail = <D extends DescMessage>(schema: D) => {
        const { value } = error.details.find(({ type }: { type: string }) => type === schema.typeName);
        return fromBinary(schema, Buffer.from(value, 'base64'));
      };
      assert.equal(detail(ErrorInfoSchema).reason, 'INVALID_FIELD');
      assert.equal(detail(BadRequestSchema).fieldViolations[0]?.field, 'backup_id');
    },
  };
}

function pythonGrpcio(): Foreign {
  const call = 'test/support/call.py';
  return {
    name: 'grpcio of Python by reflection',
    list: address => runPython(call, address, '--list'),
    call(address, method, request) {
      const calling = runPython(call, address);
      calling.input.end(`${JSON.stringify({ method: methodName(method), request })}\n`);
      return calling;
    },
    checkRefusal({ code, stderr }) {
      assert.equal(code, 1);
      assert.deepEqual(JSON.parse(stderr), { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
    },
  };
}

function runPython(script: string, ...args: string[]): Run {
  return new Run([python, '-B', join(root, script), ...args]); // -B: no __pycache__ in the repository
}

function methodNames(...services: DescService[]): string[] {
  return services.flatMap(service => service.methods.map(methodName)).toSorted();
}

/** One object after the other, each of one line or of many. */
function answers<M extends DescMethod>(method: M, stdout: string): MessageShape<M['output']>[] {
  return stdout.split(/^(?=\{)/m).map(json => fromJson(method.output, JSON.parse(json)) as MessageShape<M['output']>);
}

type Ended = { code: number; stdout: string; stderr: string };

/** A process and what it has printed so far. */
class Run {
  stdout = '';
  stderr = '';
  readonly input: Writable;
  readonly ended: Promise<Ended>;

  constructor([command, ...args]: string[]) {
    const child = spawn(command!, args, { timeout: 180_000 });
    this.input = child.stdin;
    child.stdout.setEncoding('utf8').on('data', text => {
      this.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', text => {
      this.stderr += text;
    });
    this.ended = once(child, 'close').then(([code]) => ({ code, stdout: this.stdout, stderr: this.stderr }));
  }
}
