/** Why a run has to stop. */
export type Stop = LeaseLost | Cancelled | Draining;

/** The run is somebody else's now: nothing more is to be written for it. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost';
}

/** Somebody has asked that the run be cancelled. */
export class Cancelled extends Error {
  override readonly name = 'Cancelled';
}

/** The worker ends and has no more time for the run, which goes back into the queue. */
export class Draining extends Error {
  override readonly name = 'Draining';
}
