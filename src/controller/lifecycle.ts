/** Where a run stands. Moodle's numbers (backup::STATUS_*), column `status`. */
export const Status = {
  CREATED: 100,
  REQUIRE_CONV: 200,
  PLANNED: 300,
  CONFIGURED: 400,
  SETTING_UI: 500,
  NEED_PRECHECK: 600,
  AWAITING: 700,
  EXECUTING: 800,
  FINISHED_ERR: 900,
  FINISHED_OK: 1000,
} as const;

export type Status = (typeof Status)[keyof typeof Status];

/** How a run ended. Not Moodle's, whose statuses know two ends only. Column `outcome`, 0 until it ends. */
export const Outcome = { SUCCEEDED: 1, SUCCEEDED_WITH_WARNINGS: 2, FAILED: 3, CANCELLED: 4, LOST: 5 } as const;

export type Outcome = 0 | (typeof Outcome)[keyof typeof Outcome];

export const operations = ['backup', 'restore'] as const;

export type Operation = (typeof operations)[number];

/** What of a run decides which steps it may take. */
export type Run = { operation: Operation; interactive: boolean };

export function isFinished(status: Status): boolean {
  return status === Status.FINISHED_ERR || status === Status.FINISHED_OK;
}

/** Whether a run of this kind can be in this status at all. */
export function canBeIn(run: Run, status: Status): boolean {
  return status === Status.CREATED || steps(run).some(([, to]) => to === status);
}

/** The legal next statuses, in ascending order; none when the run has finished. */
export function nextStatuses(run: Run, from: Status): Status[] {
  if (isFinished(from)) return [];
  const next = steps(run).flatMap(([start, to]) => (start === from ? [to] : []));
  return [...next, Status.FINISHED_ERR].sort((a, b) => a - b);
}

function steps(run: Run): Step[] {
  return run.operation === 'backup' ? backupSteps(run) : restoreSteps(run);
}

/** The name of a status, as in the protocol. */
export function statusName(status: Status): string {
  return Object.entries(Status).find(([, number]) => number === status)![0];
}

/** What a run is called in messages. */
export function describe({ operation, interactive }: Run): string {
  return `${interactive ? 'interactive' : 'non-interactive'} ${operation}`;
}

type Step = [from: Status, to: Status];

function backupSteps({ interactive }: Run): Step[] {
  const settings: Step[] = interactive
    ? [
        [Status.CONFIGURED, Status.SETTING_UI],
        [Status.SETTING_UI, Status.AWAITING],
      ]
    : [[Status.CONFIGURED, Status.AWAITING]];
  return [[Status.CREATED, Status.PLANNED], [Status.PLANNED, Status.CONFIGURED], ...settings, ...lastSteps];
}

function restoreSteps({ interactive }: Run): Step[] {
  const settings: Step[] = interactive
    ? [
        [Status.CONFIGURED, Status.SETTING_UI],
        [Status.PLANNED, Status.SETTING_UI],
        [Status.SETTING_UI, Status.NEED_PRECHECK],
      ]
    : [
        [Status.CONFIGURED, Status.NEED_PRECHECK],
        [Status.PLANNED, Status.NEED_PRECHECK],
      ];
  return [
    [Status.CREATED, Status.REQUIRE_CONV],
    [Status.CREATED, Status.PLANNED],
    [Status.REQUIRE_CONV, Status.PLANNED],
    // A conversion has applied the settings already: a converted restore goes on from PLANNED without this step.
    [Status.PLANNED, Status.CONFIGURED],
    ...settings,
    [Status.NEED_PRECHECK, Status.AWAITING],
    ...lastSteps,
  ];
}

const lastSteps: Step[] = [
  [Status.AWAITING, Status.EXECUTING],
  [Status.EXECUTING, Status.FINISHED_OK],
];
