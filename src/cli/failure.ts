/** What `backupctl` ends with. Scripts rely on the numbers: a new one may come, none may change. */
export const EXIT = {
  OK: 0,
  FAILED: 1,
  WRONG_USE: 2,
  NOT_FOUND: 3,
  REFUSED: 4,
  UNAVAILABLE: 5,
  NOT_ALLOWED: 6,
  RUN_FAILED: 7,
} as const;

export const EXIT_HELP = `
Exit codes:
  0  done
  1  failed, for none of the reasons below; doctor: something has to be mended
  2  wrong use: a flag, the configuration file, or a value that the service refuses
  3  not found
  4  refused as things are: it runs, has ended, has changed meanwhile
  5  the service cannot be reached, has too much to do, or did not answer in time: try again
  6  not allowed: who calls is not known, or may not do this
  7  a run that was waited for with --until-finished has failed, was cancelled or lost`;

/** What ends a command: one line for people, with a hint how to mend it, and the exit code. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exit: keyof typeof EXIT;
  readonly hint: string | undefined;

  constructor(exit: keyof typeof EXIT, message: string, hint?: string) {
    super(message);
    this.exit = exit;
    this.hint = hint;
  }
}
