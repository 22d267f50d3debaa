import type { Interruption } from '../client/reconnect.ts';
import type { Session } from './session.ts';
import { type Paint, painter } from './terminal/paint.ts';
import { printable } from './terminal/text.ts';

/** What is said on standard error while a command goes on, so that standard output has nothing but what was asked for. */
export class Notes {
  readonly paint: Paint;
  readonly #write: (text: string) => void;
  #heard = false;
  #lost = false;

  /** `write` is for a screen that is drawn, where nobody else may write. */
  constructor({ settings, environment }: Session, quiet = false, write?: (text: string) => void) {
    this.paint = painter(settings.color, environment, Boolean(process.stderr.isTTY));
    this.#write = quiet ? () => {} : (write ?? (text => process.stderr.write(text)));
  }

  /** A line of its own; control characters in it are shown, not done. */
  say(text: string): void {
    this.line(`${this.paint('dim', `-- ${printable(text)}`)}\n`);
  }

  line(text: string): void {
    this.#write(text);
  }

  /** The service has said something. */
  heard(): void {
    this.#heard = true;
    if (this.#lost) this.say('connected again');
    this.#lost = false;
  }

  readonly interrupted = ({ reason, error }: Interruption): void => {
    if (this.#lost || reason === 'MAX_AGE') return;
    this.#lost = true;
    const why = error instanceof Error ? `${reason}: ${error.message}` : reason;
    this.say(`no connection (${why}); trying again`);
  };

  /** Milliseconds: somebody who was never there is not waited for, who was there comes back. */
  get patienceMs(): number {
    return this.#heard ? Number.POSITIVE_INFINITY : AT_FIRST_MS;
  }
}

const AT_FIRST_MS = 3_000;
