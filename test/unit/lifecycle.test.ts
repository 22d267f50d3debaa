import assert from 'node:assert/strict';
import type { DescEnum } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { Execution, types } from '../../src/controller/entity.ts';
import { canBeIn, isFinished, nextStatuses, operations, Status } from '../../src/controller/lifecycle.ts';
import { LastStatus } from '../../src/course/entity.ts';
import { ExecutionSchema, OperationSchema, StatusSchema, TypeSchema } from '../../src/gen/backup/v1/controller_pb.ts';
import { CourseStatusSchema } from '../../src/gen/backup/v1/course_pb.ts';

// What Moodle does (domain.md 3.1): from, and where it may go besides FINISHED_ERR.
const graphs = {
  backup: { 100: [300], 300: [400], 400: [700], 700: [800], 800: [1000] },
  'interactive backup': { 100: [300], 300: [400], 400: [500], 500: [700], 700: [800], 800: [1000] },
  restore: { 100: [200, 300], 200: [300], 300: [400, 600], 400: [600], 600: [700], 700: [800], 800: [1000] },
  'interactive restore': {
    100: [200, 300],
    200: [300],
    300: [400, 500],
    400: [500],
    500: [600],
    600: [700],
    700: [800],
    800: [1000],
  },
};

const all = Object.values(Status);

describe('The life cycle of a controller', () => {
  for (const [kind, graph] of Object.entries(graphs)) {
    const steps: Record<number, number[]> = graph;

    it(`takes the steps of ${kind} and no others`, () => {
      for (const from of all.filter(status => steps[status])) {
        assert.deepEqual(nextStatuses(run(kind), from), [...steps[from]!, 900].sort(ascending), `from ${from}`);
      }
      assert.deepEqual(nextStatuses(run(kind), Status.FINISHED_ERR), []);
      assert.deepEqual(nextStatuses(run(kind), Status.FINISHED_OK), []);
    });

    it(`knows which statuses ${kind} can be in`, () => {
      const reachable = all.filter(status => steps[status] || status === Status.FINISHED_OK);
      assert.deepEqual(
        all.filter(status => canBeIn(run(kind), status) && status !== Status.FINISHED_ERR),
        reachable,
      );
    });
  }

  it('ends every walk in a finished status, and only there', () => {
    const choices = fc.array(fc.nat(), { minLength: all.length, maxLength: all.length });
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(graphs)), choices, (kind, choices) => {
        const walk: Status[] = [Status.CREATED];
        for (const choice of choices) {
          const next = nextStatuses(run(kind), walk.at(-1)!);
          if (next.length > 0) walk.push(next[choice % next.length]!);
        }
        assert.deepEqual(walk, [...walk].sort(ascending), 'a walk never goes back');
        assert.ok(isFinished(walk.at(-1)!), `the walk ${walk} does not end`);
        assert.ok(!walk.slice(0, -1).some(isFinished), `the walk ${walk} goes on after its end`);
      }),
    );
  });

  it('lets every unfinished run fail', () => {
    for (const [kind, graph] of Object.entries(graphs)) {
      for (const from of Object.keys(graph)) {
        assert.ok(nextStatuses(run(kind), Number(from) as Status).includes(Status.FINISHED_ERR));
      }
    }
  });
});

describe('The numbers of the columns', () => {
  it('are those of the protocol for status and execution', () => {
    assert.deepEqual({ ...Status }, numbers(StatusSchema));
    assert.deepEqual({ ...Execution }, numbers(ExecutionSchema));
  });

  it('follow the protocol in operation and type, which are text', () => {
    const columns = (values: readonly string[], from: number) =>
      Object.fromEntries(values.map((value, i) => [value.toUpperCase() || 'UNSPECIFIED', i + from]));
    assert.deepEqual(columns(operations, 1), numbers(OperationSchema));
    assert.deepEqual(columns(types, 0), { UNSPECIFIED: 0, ...numbers(TypeSchema) });
  });

  it('are those of the protocol for the status of a course, but 0 for ERROR', () => {
    const expected = Object.entries(numbers(CourseStatusSchema)).map(([name, number]) => [
      name,
      name === 'ERROR' ? '0' : String(number),
    ]);
    assert.deepEqual({ ...LastStatus }, Object.fromEntries(expected));
  });
});

function run(kind: string) {
  return { operation: operations.find(name => kind.endsWith(name))!, interactive: kind.startsWith('interactive') };
}

function numbers(schema: DescEnum): Record<string, number> {
  return Object.fromEntries(schema.values.filter(value => value.number).map(value => [value.localName, value.number]));
}

function ascending(a: number, b: number): number {
  return a - b;
}
