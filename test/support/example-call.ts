import assert from 'node:assert/strict';
import { fromJson, type JsonValue, type Message } from '@bufbuild/protobuf';
import { methodName } from '../../src/grpc/definition.ts';
import type { Replica } from './backend.ts';
import { type Example, examples, prepare } from './examples.ts';
import { finish } from './writing.ts';

/** Calls every method once, each on what it is about, and checks the answers. Returns the names of the methods. */
export async function callAll(replica: Replica): Promise<string[]> {
  const names = [];
  for (const example of examples()) {
    const given = await prepare({ ...replica, replicas: [replica], database: undefined as never });
    const called = callExample(replica, example, example.request(given));
    // What is waited for has to come to an end.
    if (example.method.methodKind === 'server_streaming') await finish(replica, given.backupId);
    const answers = await called.catch(error => {
      throw new Error(`${methodName(example.method)}: ${error.message}`, { cause: error });
    });
    example.check(answers, given);
    names.push(methodName(example.method));
  }
  return names;
}

type Call = (request: unknown) => Promise<Message> & AsyncIterable<Message>;

async function callExample(replica: Replica, { method }: Example, json: JsonValue): Promise<Message[]> {
  const { controllers, courses, logs, replica: itself, health } = replica;
  const client = {
    ControllerService: controllers,
    CourseService: courses,
    LogService: logs,
    ReplicaService: itself,
    Health: health,
  }[method.parent.name] as unknown as Record<string, Call>;
  const requests = [json].flat().map(request => fromJson(method.input, request as JsonValue));
  const call = client[method.localName];
  assert.ok(call);
  const answer = call(/client|bidi/.test(method.methodKind) ? requests : requests[0]);
  if (method.methodKind === 'unary' || method.methodKind === 'client_streaming') return [await answer];
  return Array.fromAsync(answer);
}
