/**
 * A stream of server-sent events that goes on where it was: by itself when it breaks, by its last token when the page had closed it. It is closed while
 * nobody looks, because a browser has six connections to a service for all of its tabs.
 */
export class Stream {
  #path;
  #listener;
  #parameters = {};
  #token = '';
  #source;
  #timer;

  /** `listener` has: opened(), told(message, bookmarked), restarted(reason), refused(message), state(open). */
  constructor(path, listener) {
    this.#path = path;
    this.#listener = listener;
    document.addEventListener('visibilitychange', () => {
      clearTimeout(this.#timer);
      if (!document.hidden) this.#resume();
      else this.#timer = setTimeout(() => this.#close(), HIDDEN_MS);
    });
  }

  /** Begins anew, with these parameters. */
  start(parameters = {}) {
    this.#parameters = parameters;
    this.#token = '';
    this.#close();
    this.#open();
  }

  stop() {
    this.#close();
    this.#source = undefined;
  }

  #resume() {
    if (this.#source?.readyState === EventSource.CLOSED) this.#open();
  }

  #close() {
    clearTimeout(this.#timer);
    this.#source?.close();
  }

  #open() {
    const query = new URLSearchParams(this.#parameters);
    if (this.#token) query.set('resume', this.#token);
    const source = new EventSource(`${this.#path}?${query}`);
    const current = () => source === this.#source;
    this.#source = source;
    source.onopen = () => {
      if (!current()) return;
      this.#listener.opened();
      this.#listener.state(true);
    };
    source.onmessage = ({ data, lastEventId }) => {
      if (!current()) return;
      const bookmarked = lastEventId !== '' && lastEventId !== this.#token;
      if (bookmarked) this.#token = lastEventId;
      this.#listener.told(JSON.parse(data), bookmarked);
    };
    source.addEventListener('refused', ({ data }) => {
      if (!current()) return;
      const { reason, message } = JSON.parse(data);
      if (STALE.has(reason)) {
        this.#listener.restarted(reason);
        this.start(this.#parameters);
      } else if (reason === 'INVALID_FIELD') {
        this.stop();
        this.#listener.refused(message);
      }
    });
    source.onerror = () => {
      if (!current()) return;
      this.#listener.state(false);
      // By itself a browser comes back after a broken stream only, not after an answer that is none.
      if (source.readyState === EventSource.CLOSED) this.#timer = setTimeout(() => this.#resume(), RETRY_MS);
    };
  }
}

const STALE = new Set(['RESUME_TOKEN_INVALID', 'HISTORY_DIVERGED']);
const HIDDEN_MS = 30_000;
const RETRY_MS = 3000;
