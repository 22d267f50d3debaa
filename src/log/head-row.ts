/** Where a log and its run stand. */
export type Head = {
  /** 1 when nothing was appended or removed yet. */
  firstId: bigint;
  /** 0 when nothing was appended yet. */
  lastId: bigint;
  /** `lastId` when the run finished. */
  sealedId: bigint | undefined;
  /** Entries up to this one are in segments, and not in the table; 0 when none is. */
  movedId: bigint;
  /** When it grew last, in epoch microseconds; 0 when nothing was appended yet. */
  lastMicros: bigint;
  /** Whether there is a log or a controller at all. */
  exists: boolean;
  run: Run | undefined;
};

/** What a log shows of its controller. */
export type Run = {
  status: number;
  /** 0 to 1, as the column has it. */
  progress: string;
  operation: string;
  type: string;
  itemId: bigint;
  userId: bigint;
  purpose: number;
  /** Epoch seconds. */
  createdAt: bigint;
};

export const logColumns = 'h.firstid, h.lastid, h.sealedid, h.movedid, h.lastmicros';
export const runColumns =
  'c.status, c.progress, c.operation, c.type, c.itemid, c.userid, c.purpose, c.created_at as begun';

/** Of the head `h` and the controller `c` of a log, either of which may be missing. */
export const headColumns = `${logColumns},
  ${runColumns}`;

/** A row of `headColumns`. */
export function toHead(row: Record<string, unknown>): Head {
  const integer = (column: string, absent: bigint) => (row[column] === null ? absent : BigInt(row[column] as string));
  return {
    firstId: integer('firstid', 1n),
    lastId: integer('lastid', 0n),
    sealedId: row['sealedid'] === null ? undefined : BigInt(row['sealedid'] as string),
    movedId: integer('movedid', 0n),
    lastMicros: integer('lastmicros', 0n),
    exists: row['lastid'] !== null || row['status'] !== null,
    run: row['status'] === null ? undefined : toRun(row),
  };
}

function toRun(row: Record<string, unknown>): Run {
  return {
    status: row['status'] as number,
    progress: row['progress'] as string,
    operation: row['operation'] as string,
    type: row['type'] as string,
    itemId: BigInt(row['itemid'] as string),
    userId: BigInt(row['userid'] as string),
    purpose: row['purpose'] as number,
    createdAt: BigInt(row['begun'] as string),
  };
}
