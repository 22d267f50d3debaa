/** 32 hexadecimal digits, with letters among them, from a number. */
export function hex(n: number): string {
  return `ab${n.toString(16).padStart(30, '0')}`;
}

const HEX = 'a0'.repeat(16);

/** A backup id where it is required. */
export const backupId = {
  accepts: [HEX, '0'.repeat(32), '0123456789abcdef'.repeat(2)],
  refuses: { backup_id: ['', ...badHex(HEX)] },
};

/** Everything that is almost 32 lower-case hexadecimal digits. */
export function badHex(good: string): string[] {
  const long = 'a'.repeat(1_000_000);
  return [
    good.slice(1),
    `${good}0`,
    good.toUpperCase(),
    `g${good.slice(1)}`,
    ` ${good}`,
    `${good}\n`,
    `${good.slice(1)}\0`,
    long,
  ];
}

const UUID = '01234567-89ab-4def-8123-456789abcdef';

const UUIDS = [UUID, UUID.toUpperCase(), '00000000-0000-0000-0000-000000000000'];
const NO_UUIDS = [
  UUID.slice(1),
  `${UUID}0`,
  UUID.replaceAll('-', ''),
  `{${UUID}}`,
  ` ${UUID}`,
  `${UUID}\0`,
  `${UUID}\n`,
  '0'.repeat(1_000_000),
];

export const requestId = { accepts: ['', ...UUIDS], refuses: { request_id: NO_UUIDS } };

/** The token of a lease where it is required. */
export const leaseToken = { accepts: UUIDS, refuses: { lease_token: ['', ...NO_UUIDS] } };

/** The id of a writer. */
export const writerId = { accepts: UUIDS, refuses: { writer_id: ['', ...NO_UUIDS] } };

export const optionalLeaseToken = { accepts: ['', ...UUIDS], refuses: { lease_token: NO_UUIDS } };

/** Text of a bounded number of characters without NUL. */
export function text(path: string, most: number) {
  return {
    accepts: ['x', ' ', '\n', 'x'.repeat(most), '😀'.repeat(most)],
    refuses: { [path]: ['x'.repeat(most + 1), '😀'.repeat(most + 1), 'a\0', '\0', 'x'.repeat(1_000_000)] },
  };
}

export const etag = {
  accepts: ['', 'x'.repeat(64), 'ä'.repeat(32), '\0'],
  refuses: { etag: ['x'.repeat(65), 'ä'.repeat(33), 'x'.repeat(1_000_000)] },
};

export const pageSize = { accepts: [0, 1, 1000], refuses: { page_size: [-1, 1001, -(2 ** 31), 2 ** 31 - 1] } };

export const pageToken = {
  accepts: ['', 'x'.repeat(4096), '\0'],
  refuses: { page_token: ['x'.repeat(4097), 'ä'.repeat(2049), 'x'.repeat(1_000_000)] },
};

const LAST_SECOND = 253_402_300_799n;

/** A time of the schedule or of a log: the edges of the range, and times that are none. */
export function time(path: string, firstSecond: bigint) {
  return {
    accepts: [{ seconds: firstSecond }, { seconds: LAST_SECOND, nanos: 999_999_999 }],
    refuses: {
      [path]: [
        { seconds: firstSecond - 1n },
        { seconds: firstSecond - 1n, nanos: 999_999_999 },
        { seconds: LAST_SECOND + 1n },
        { seconds: -(2n ** 63n) },
        { seconds: 2n ** 63n - 1n },
        ...badNanos(5n),
      ],
    },
  };
}

/** Timestamps and durations whose nanoseconds are out of their range. */
export function badNanos(seconds: bigint) {
  return [-1, 1_000_000_000, 2 ** 31 - 1, -(2 ** 31)].map(nanos => ({ seconds, nanos }));
}

export const int64From = (path: string, least: bigint) => ({
  accepts: [least, 9_007_199_254_740_993n, 2n ** 63n - 1n],
  refuses: { [path]: [least - 1n, -(2n ** 63n)] },
});

/** A duration of whole seconds to whole seconds, both among them. */
export function duration(path: string, least: bigint, most: bigint) {
  return {
    accepts: [{ seconds: least }, { seconds: least, nanos: 1 }, { seconds: most }],
    refuses: {
      [path]: [
        { seconds: least - 1n },
        least === 0n ? { nanos: -1 } : { seconds: least - 1n, nanos: 999_999_999 },
        { seconds: most, nanos: 1 },
        { seconds: most + 1n },
        { seconds: 2n ** 63n - 1n },
        { seconds: -(2n ** 63n) },
        ...badNanos(most),
      ],
    },
  };
}
