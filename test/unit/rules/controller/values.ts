import { Status } from '../../../../src/gen/backup/v1/controller_pb.ts';
import { badHex, hex } from '../edges.ts';

export const STATUSES = [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000];
const NO_STATUS = [1, 99, 150, 1001, -100, 2 ** 31 - 1, -(2 ** 31)];

export const upTo = (most: number) => [...Array(most + 1).keys()];

export const type = { accepts: upTo(3), refuses: { type: [4, -1, 2 ** 31 - 1] } };

export const execution = { accepts: upTo(2), refuses: { execution: [3, -1, 2 ** 31 - 1] } };

/** From 0 where it may be absent, else from 1. */
export const operation = (least: number) => ({
  accepts: [1, 2, least],
  refuses: { operation: [least - 1, 3, 2 ** 31 - 1] },
});

export const status = (path: string, accepts: number[], more: number[]) => ({
  accepts,
  refuses: { [path]: [...NO_STATUS, ...more] },
});

export const statuses = {
  accepts: [[], STATUSES, Array(10).fill(Status.AWAITING)],
  refuses: {
    statuses: [Array(11).fill(Status.AWAITING)],
    'statuses[1]': [0, ...NO_STATUS].map(bad => [Status.AWAITING, bad]),
  },
};

export const purpose = { accepts: [1, 10, 50, 999, 32767], refuses: { purpose: [-1, -(2 ** 31), 32768, 2 ** 31 - 1] } };

export const purposes = {
  accepts: [[], [999, 1, 32767], upTo(99).map(n => n + 1)],
  refuses: {
    purposes: [upTo(100).map(n => n + 1)],
    'purposes[0]': [0, -1, 32768, 2 ** 31 - 1].map(bad => [bad]),
  },
};

export const format = {
  accepts: ['', 'm', 'moodle2', 'imscc11', 'a_b-9', 'x'.repeat(20)],
  refuses: { format: ['x'.repeat(21), 'Moodle2', 'moodle 2', 'moodle\0', 'ä', 'moodle2\n', 'x'.repeat(1_000_000)] },
};

export const checksum = { accepts: ['', hex(1)], refuses: { checksum: badHex(hex(1)) } };

export const payload = {
  accepts: [new Uint8Array(), new Uint8Array([0, 255]), new Uint8Array(1_048_576)],
  refuses: { payload: [new Uint8Array(1_048_577)] },
};

export const progress = {
  accepts: [0, -0, 1e-14, 0.5, 0.999_999_999_999_99, 1],
  refuses: { progress: [-1e-15, 1 + Number.EPSILON, NaN, Infinity, -Infinity, Number.MAX_VALUE] },
};
