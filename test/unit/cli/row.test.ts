import { strict as assert } from 'node:assert';
import { create } from '@bufbuild/protobuf';
import { Pace } from '../../../src/cli/controllers/pace.ts';
import { percent, rowOf, wordsOf } from '../../../src/cli/controllers/row.ts';
import {
  type Controller,
  ControllerSchema,
  Operation,
  Outcome,
  Status,
  Type,
} from '../../../src/gen/backup/v1/controller_pb.ts';

const plain = (_: unknown, text: string) => text;
const NOW = 1_000_000_000;

describe('The row of a run', () => {
  it('has a bar while it is executed, with the rate and the time that is left once they are known', () => {
    const run = executing({ progress: 0.25 });
    assert.equal(row(run), `aaaaaaaa  backup course 42      ███████▌${'░'.repeat(22)}  25 %`);
    run.pace.record(0.15, NOW - 10_000);
    run.pace.record(0.25, NOW);
    assert.equal(row(run), `aaaaaaaa  backup course 42      ███████▌${'░'.repeat(22)}  25 %  60.0 %/min  ETA 1m 15s`);
    assert.equal(wordsOf(run, NOW), 'backup course 42: EXECUTING 25 %  60.0 %/min  ETA 1m 15s');
  });

  it('is never wider than the terminal, and does without a bar where there is no room', () => {
    const run = executing({ progress: 0.5, attempt: 2, cancelRequestTime: at(NOW) });
    run.pace.record(0.1, NOW - 1000);
    run.pace.record(0.5, NOW);
    for (let width = 20; width < 120; width++) {
      const line = row(run, width);
      assert.ok(line.length <= width, `${line.length} of ${width}`);
      assert.equal(line.includes('█'), width >= 99, `${width}`);
    }
    assert.match(row(run, 130), /50 % .* to be cancelled {2}attempt 2$/);
  });

  it('says how it ended, in how much time', () => {
    const times = { startTime: at(NOW - 130_000), endTime: at(NOW) };
    const ends: [Partial<Controller>, string][] = [
      [{ status: Status.FINISHED_OK, outcome: Outcome.SUCCEEDED, progress: 1, ...times }, '✔ succeeded in 2m 10s'],
      [{ status: Status.FINISHED_OK, outcome: Outcome.SUCCEEDED_WITH_WARNINGS }, '✔ succeeded with warnings'],
      [
        { status: Status.FINISHED_ERR, outcome: Outcome.FAILED, progress: 0.616, ...times },
        '✘ failed at 61 % after 2m 10s',
      ],
      [{ status: Status.FINISHED_ERR, outcome: Outcome.LOST }, '✘ lost'],
      [{ status: Status.FINISHED_ERR, outcome: Outcome.CANCELLED }, '✘ cancelled'],
      [{ status: Status.FINISHED_ERR }, '✘ failed'],
      [{ status: Status.AWAITING }, 'AWAITING'],
      [{ status: Status.AWAITING, executionTime: at(NOW) }, 'AWAITING not before 1970-01-12T13:46:40.000Z'],
      [{ status: 850 as Status }, '850'],
    ];
    for (const [what, said] of ends)
      assert.equal(row({ controller: controller(what), pace: new Pace() }), `aaaaaaaa  backup course 42      ${said}`);
  });

  it('does not say that all is done before it is', () => {
    assert.deepEqual([0, 0.004, 0.57, 0.999999, 1].map(percent), ['0', '0', '57', '99', '100']);
  });
});

function row(run: { controller: Controller; pace: Pace }, width = 100): string {
  return rowOf(run, 'aaaaaaaa', width, plain, NOW).trimEnd();
}

function executing(what: Partial<Controller>) {
  return { controller: controller({ status: Status.EXECUTING, ...what }), pace: new Pace() };
}

function controller(what: Partial<Controller>): Controller {
  return create(ControllerSchema, {
    operation: Operation.BACKUP,
    type: Type.COURSE,
    itemId: 42n,
    ...what,
  } as Controller);
}

function at(ms: number) {
  return { seconds: BigInt(ms / 1000), nanos: 0 } as Controller['endTime'] & object;
}
