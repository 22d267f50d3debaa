import { type ErrorReason, exhausted } from '../errors.ts';

/** Who asks: the address and port of the connection, and whoever is behind it. */
export type Asking = { readonly peer: string; readonly caller: string };

/** Places for what runs at a time, so many for the replica, for each connection and for each caller; an undefined number is no limit. */
export class Places {
  readonly #what: string;
  readonly #reason: ErrorReason;
  readonly #most: { replica: number; connection: number; caller: number | undefined };
  readonly #connections = new Map<string, number>();
  readonly #callers = new Map<string, number>();
  taken = 0;

  constructor(
    what: string,
    reason: ErrorReason,
    most: { replica: number; connection: number; caller: number | undefined },
  ) {
    this.#what = what;
    this.#reason = reason;
    this.#most = most;
  }

  /** Throws when there is none; gives it back when it is disposed of. */
  take({ peer, caller }: Asking): Disposable {
    const { replica, connection, caller: callers } = this.#most;
    if (this.taken >= replica) throw this.#none('replica', replica, '');
    if ((this.#connections.get(peer) ?? 0) >= connection) throw this.#none('connection', connection, peer);
    if (callers !== undefined && (this.#callers.get(caller) ?? 0) >= callers) {
      throw this.#none('caller', callers, caller);
    }
    this.taken++;
    add(this.#connections, peer, 1);
    if (callers !== undefined) add(this.#callers, caller, 1);
    return {
      [Symbol.dispose]: () => {
        this.taken--;
        add(this.#connections, peer, -1);
        if (callers !== undefined) add(this.#callers, caller, -1);
      },
    };
  }

  #none(of: string, most: number, whose: string) {
    const message = `this ${of} has ${most} ${this.#what} at a time already`;
    return exhausted(this.#reason, message, { limit: this.#what, of, most, whose }, RETRY_MS);
  }
}

const RETRY_MS = 1000;

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}
