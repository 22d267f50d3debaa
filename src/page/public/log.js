import { byId, element, say } from './elements.js';
import { Stream } from './stream.js';

/** The live log: of one backup or of all, from a level up, the last lines of it; `show` changes whose and which. */
export function showLog({ state }) {
  const view = byId('log-lines');
  const lines = new Lines(view, byId('log-latest'));
  let seen = new Seen();
  const stream = new Stream('/lines', {
    state,
    opened: () => seen.opened(),
    restarted() {
      seen = new Seen();
      lines.clear();
      lines.add(mark('The log is not the one that it was: it is told anew'));
    },
    refused: message => say(byId('log-note'), message),
    told({ entries, truncated, caughtUp, fellBehind, end }, bookmarked) {
      if (entries) lines.add(...seen.fresh(entries).map(entry => line(entry, entries.backupId)));
      if (bookmarked) seen.bookmarked();
      if (truncated)
        lines.add(mark(`Lines ${truncated.fromId} to ${truncated.toId} were removed because of their age`));
      if (fellBehind) say(byId('log-note'), `${Number(fellBehind.lag).toLocaleString()} lines behind`);
      if (caughtUp) say(byId('log-note'), '');
      if (end?.reason === 'REASON_DELETED') {
        stream.stop();
        lines.add(mark('The backup was deleted with its log'));
      }
      view.dataset.empty = lines.count > 0 ? '' : 'No line yet. New ones appear here as they are written.';
    },
  });
  byId('log-all').onclick = () => byId('log').dispatchEvent(new CustomEvent('scope', { detail: '' }));
  return {
    show(backup, level) {
      seen = new Seen();
      lines.clear();
      view.dataset.empty = 'Connecting';
      view.classList.toggle('one', backup !== '');
      say(byId('log-scope'), backup ? `Backup ${backup}` : 'All backups');
      byId('log-all').hidden = backup === '';
      stream.start({ ...(backup && { backup }), level });
    },
  };
}

/** Who comes back before the next bookmark is told what came since the last one once more. */
class Seen {
  #since = new Map();
  #repeatable = new Map();

  opened() {
    this.#repeatable = new Map(this.#since);
  }

  fresh({ backupId, entries }) {
    const upTo = BigInt(this.#repeatable.get(backupId) ?? 0);
    const fresh = entries.filter(({ id }) => BigInt(id) > upTo);
    if (fresh.length > 0) this.#since.set(backupId, fresh.at(-1).id);
    return fresh;
  }

  bookmarked() {
    this.#since.clear();
    this.#repeatable.clear();
  }
}

/** The last lines in the page, put in once a frame. The view follows them until its reader scrolls up. */
class Lines {
  count = 0;
  #view;
  #latest;
  #waiting = [];
  #follows = true;
  #missed = 0;

  constructor(view, latest) {
    this.#view = view;
    this.#latest = latest;
    view.addEventListener('scroll', () => {
      this.#follows = view.scrollHeight - view.scrollTop - view.clientHeight < NEAR_PX;
      if (this.#follows) this.#missed = 0;
      this.#offer();
    });
    latest.onclick = () => {
      this.#toEnd();
      view.focus();
    };
  }

  add(...made) {
    if (made.length === 0) return;
    this.count += made.length;
    if (this.#waiting.length === 0) requestAnimationFrame(() => this.#flush());
    this.#waiting.push(...made);
    // A page that nobody looks at has no frames.
    if (this.#waiting.length > 2 * MOST) this.#waiting.splice(0, this.#waiting.length - MOST);
  }

  clear() {
    this.count = 0;
    this.#waiting = [];
    this.#missed = 0;
    this.#follows = true;
    this.#view.replaceChildren();
    this.#offer();
  }

  #flush() {
    const made = this.#waiting.splice(0).slice(-MOST);
    if (made.length === 0) return;
    const excess = this.#view.childElementCount + made.length - MOST;
    // What is read stays where it is, although lines above it go.
    const before = this.#view.scrollHeight;
    for (let i = 0; i < excess; i++) this.#view.firstElementChild.remove();
    const gone = before - this.#view.scrollHeight;
    this.#view.append(...made);
    if (this.#follows) return this.#toEnd();
    if (gone > 0) this.#view.scrollTop -= gone;
    this.#missed += made.length;
    this.#offer();
  }

  #toEnd() {
    this.#view.scrollTop = this.#view.scrollHeight;
  }

  #offer() {
    this.#latest.hidden = this.#follows;
    const lines = this.#missed === 1 ? '1 new line' : `${this.#missed.toLocaleString()} new lines`;
    this.#latest.textContent = this.#missed > 0 ? `Jump to ${lines}` : 'Jump to the latest line';
  }
}

function line({ id, level = '', message = '', createTime }, backupId) {
  const word = level.replace('LOG_LEVEL_', '').toLowerCase();
  const time = new Date(createTime);
  return element(
    'div',
    { className: 'line', data: { level: word, id } },
    element('time', { dateTime: createTime, title: time.toLocaleString(), textContent: clock.format(time) }),
    ' ',
    element('span', { className: 'level', textContent: word }),
    ' ',
    element('a', {
      className: 'of',
      href: `/?backup=${backupId}#log`,
      textContent: backupId.slice(0, 8),
      title: `Only the log of ${backupId}`,
      data: { backup: backupId },
    }),
    ' ',
    element('span', { className: 'message', textContent: message }),
  );
}

function mark(text) {
  return element('div', { className: 'mark', textContent: text });
}

const clock = new Intl.DateTimeFormat([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });

/** Lines in the page. */
const MOST = 2000;
/** How far from its end a view still follows. */
const NEAR_PX = 40;
