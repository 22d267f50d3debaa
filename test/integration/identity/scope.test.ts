import { strict as assert } from 'node:assert';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import type { Client, ServiceError } from '@grpc/grpc-js';
import { ControllerService } from '../../../src/gen/backup/v1/controller_pb.ts';
import { CourseService } from '../../../src/gen/backup/v1/course_pb.ts';
import { LogService } from '../../../src/gen/backup/v1/log_pb.ts';
import { ReplicaService } from '../../../src/gen/backup/v1/replica_pb.ts';
import { ServerReflection } from '../../../src/gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as OldReflection } from '../../../src/gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../../../src/gen/health/v1/health_pb.ts';
import { methodDefinition } from '../../../src/grpc/definition.ts';
import { SCOPES, scopeOf } from '../../../src/identity/scope.ts';
import { Authority } from '../../support/authority.ts';
import { eventually } from '../../support/eventually.ts';
import { Issuer } from '../../support/issuer.ts';
import { type Secured, startSecured } from '../../support/secured.ts';
import { type Refusal, refused } from '../../support/status.ts';

// Not a message of any type: whoever is refused for anything else was so before his request was decoded.
const GARBAGE = Buffer.from([0xff, 0xff, 0xff]);
const own = [ControllerService, CourseService, LogService, ReplicaService];
const others: DescService[] = [ServerReflection, OldReflection];
const methods = [...own, ...others].flatMap(service => service.methods);

describe('A service that asks who calls', () => {
  let secured: Secured;
  let issuer: Issuer;
  before(async () => {
    issuer = await Issuer.create();
    secured = await startSecured(await Authority.create(), { issuer });
  });
  after(() => secured[Symbol.asyncDispose]());

  it('has methods of all four kinds', () => {
    const kinds = new Set(methods.map(({ methodKind }) => methodKind));
    assert.deepEqual([...kinds].sort(), ['bidi_streaming', 'client_streaming', 'server_streaming', 'unary']);
  });

  it('refuses every method without a token, before it looks at the request', async () => {
    const channel = secured.channel({});
    for (const method of methods) {
      await refused(garbage(channel, method), { code: 'UNAUTHENTICATED', reason: 'UNAUTHENTICATED' });
    }
  });

  it('refuses every method to who has all scopes but its own, and names it, before it looks at the request', async () => {
    for (const scope of SCOPES) {
      const channel = secured.channel({
        token: await issuer.token([...SCOPES].filter(one => one !== scope).join(' ')),
      });
      for (const method of methods.filter(one => scopeOf(one) === scope)) {
        const { info } = await refused(garbage(channel, method), MISSING);
        assert.deepEqual(info!.metadata, { scope }, method.name);
      }
    }
  });

  it('looks at the request of who has no scope but that of the method', async () => {
    for (const scope of SCOPES) {
      const channel = secured.channel({ token: await issuer.token(scope) });
      for (const method of methods.filter(one => scopeOf(one) === scope)) {
        await refused(garbage(channel, method), { code: 'INVALID_ARGUMENT', reason: 'MALFORMED_MESSAGE' });
      }
    }
  });

  it('keeps no call of those that it refused', async () => {
    await eventually(() => assert.equal(secured.replica.app.admission.calls, 0));
    assert.equal(secured.replica.app.admission.streams, 0);
  });

  it('answers health to everybody, or to readers only', async () => {
    const { health } = secured.as({});
    await eventually(async () => assert.equal((await health.check({})).status, Serving.SERVING));
    for await (const { status } of health.watch({})) {
      assert.equal(status, Serving.SERVING);
      break;
    }
    await using closed = await startSecured(secured.authority, { issuer, settings: { OPEN_HEALTH: 'off' } });
    for (const method of Health.methods) {
      const call = garbage(closed.channel({}), method);
      await refused(call, { code: 'UNAUTHENTICATED', reason: 'UNAUTHENTICATED' });
      await refused(garbage(closed.channel({ token: await issuer.token('work') }), method), MISSING);
    }
    const reader = closed.as({ token: await issuer.token('read') });
    await eventually(async () => assert.equal((await reader.health.check({})).status, Serving.SERVING));
  });
});

const MISSING: Refusal = { code: 'PERMISSION_DENIED', reason: 'SCOPE_MISSING' };

/** Sends bytes to a method of any kind, and says how that ends. */
function garbage(channel: Client, method: DescMethod): Promise<unknown> {
  const { path, requestStream, responseStream } = methodDefinition(method);
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const same = (bytes: Buffer) => bytes;
  const done = (error: ServiceError | null, answer?: Buffer) => (error ? reject(error) : resolve(answer));
  if (!responseStream) {
    if (!requestStream) channel.makeUnaryRequest(path, same, same, GARBAGE, done);
    else channel.makeClientStreamRequest(path, same, same, done).write(GARBAGE);
    return promise;
  }
  const open = () => {
    if (!requestStream) return channel.makeServerStreamRequest(path, same, same, GARBAGE);
    const call = channel.makeBidiStreamRequest(path, same, same);
    call.write(GARBAGE);
    return call;
  };
  open()
    .on('data', () => {})
    .on('error', reject)
    .on('end', resolve);
  return promise;
}
