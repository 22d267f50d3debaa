import type { Controller } from '../../gen/backup/v1/controller_pb.ts';
import type { Watched } from './row.ts';

/** What shows runs: each state of one, and that one is gone. */
export type View = Disposable & {
  show(run: Watched): Promise<void>;
  /** With what it is now, unless it was deleted. */
  remove(backupId: string, controller: Controller | undefined): Promise<void>;
  /** A line that is not about a run; undefined when it may go to standard error. */
  say?: (line: string) => void;
};
