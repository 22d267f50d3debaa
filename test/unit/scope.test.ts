import { strict as assert } from 'node:assert';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { ControllerService } from '../../src/gen/backup/v1/controller_pb.ts';
import { CourseService } from '../../src/gen/backup/v1/course_pb.ts';
import { LogService } from '../../src/gen/backup/v1/log_pb.ts';
import { ReplicaService } from '../../src/gen/backup/v1/replica_pb.ts';
import { SCOPES, scopeOf } from '../../src/identity/scope.ts';

const root = join(import.meta.dirname, '../..');

describe('The scope of a method', () => {
  it('stands in its .proto file, of every method of every service', async () => {
    const methods = (await services()).flatMap(service => service.methods);
    assert.ok(methods.length > 30);
    for (const method of methods) assert.ok(SCOPES.has(scopeOf(method)), method.name);
  });

  it('is read exactly where nothing is changed', () => {
    const methods = [ControllerService, CourseService, LogService, ReplicaService].flatMap(({ methods }) => methods);
    const tells = (method: DescMethod) =>
      /^(Get|BatchGet|Describe|List|Watch|Tail|Download|Summarize|Next)/.test(method.name);
    for (const method of methods) assert.equal(scopeOf(method) === 'read', tells(method), method.name);
  });

  it('is work for what workers send with their leases, and admin for what removes many at once', () => {
    assert.equal(scopeOf(ControllerService.method.claimControllers), 'work');
    assert.equal(scopeOf(LogService.method.ingestLogs), 'work');
    assert.equal(scopeOf(ControllerService.method.cancelController), 'write');
    for (const { method } of [LogService, ControllerService]) {
      const purge = Object.values(method).find(({ name }) => name.startsWith('Purge'));
      assert.equal(scopeOf(purge!), 'admin');
    }
  });

  it('is demanded: a method without one cannot be served', () => {
    const { getController } = ControllerService.method;
    const bare = { ...getController, proto: { ...getController.proto, options: undefined } } as DescMethod;
    assert.throws(() => scopeOf(bare), /ControllerService\/GetController declares no scope/);
  });
});

/** The services of all generated code. */
async function services(): Promise<DescService[]> {
  const modules: Record<string, { kind?: string }>[] = await Promise.all(
    globSync('src/gen/**/*_pb.ts', { cwd: root }).map(path => import(join(root, path))),
  );
  return modules.flatMap(Object.values).filter(exported => exported.kind === 'service');
}
