import { byId, element, say } from './elements.js';
import { Stream } from './stream.js';

/** The list of running controllers, each with its progress. Those that have ended say how, and go after a while. */
export function showRuns({ state }) {
  const list = byId('runs-list');
  const rows = new Map();

  byId('runs-empty').textContent = '';

  const counted = () => {
    const running = [...rows.values()].filter(row => !row.ended).length;
    say(byId('runs-count'), running > 0 ? String(running) : '');
    byId('runs-empty').hidden = rows.size > 0;
    byId('runs-empty').textContent = 'Nothing is running.';
    const beyond = rows.size - MOST;
    list.dataset.more = beyond > 0 ? `and ${beyond} more` : '';
  };
  const remove = id => {
    rows.get(id)?.item.remove();
    rows.delete(id);
    counted();
  };
  const put = controller => {
    const known = rows.get(controller.backupId);
    if (known && !known.ended) return known.update(controller);
    if (known) remove(controller.backupId);
    const row = runRow(controller);
    rows.set(controller.backupId, row);
    // The others are counted, and come when there is room.
    if (list.childElementCount < MOST) list.append(row.item);
  };
  const end = async ids => {
    const left = ids.filter(id => rows.has(id) && !rows.get(id).ended);
    for (const id of left) rows.get(id).ended = true;
    for (let i = 0; i < left.length; i += PER_QUESTION) {
      const some = left.slice(i, i + PER_QUESTION);
      const query = new URLSearchParams(some.map(id => ['backup', id]));
      const answer = await fetch(`/ended?${query}`).catch(() => undefined);
      const { controllers = [] } = answer?.ok ? await answer.json() : {};
      for (const controller of controllers) rows.get(controller.backupId)?.end(controller);
      const told = new Set(controllers.map(({ backupId }) => backupId));
      for (const id of some) {
        const row = rows.get(id);
        if (!told.has(id)) remove(id);
        else setTimeout(() => rows.get(id) === row && remove(id), LINGER_MS);
      }
    }
  };

  setInterval(() => {
    if (document.hidden) return;
    for (const row of rows.values()) row.tick();
    for (const { item } of rows.values()) {
      if (list.childElementCount >= MOST) break;
      if (!item.isConnected) list.append(item);
    }
  }, 1000);

  new Stream('/runs', {
    opened() {},
    state,
    restarted() {},
    refused() {},
    told({ reset, controllers = [], removedBackupIds = [] }) {
      if (reset) {
        rows.clear();
        list.replaceChildren();
      }
      for (const controller of controllers) put(controller);
      void end(removedBackupIds);
      counted();
    },
  }).start();
}

function runRow(first) {
  const name = nameOf(first);
  const bar = element('progress', { max: 1, attributes: { 'aria-label': name } });
  const share = element('span', { className: 'share' });
  const detail = element('p', { className: 'detail' });
  const log = element('a', {
    href: `/?backup=${first.backupId}#log`,
    className: 'open-log',
    textContent: 'Log',
    data: { backup: first.backupId },
    attributes: { 'aria-label': `Log of: ${name}` },
  });
  const title = element('span', { className: 'name', textContent: name });
  const item = element('li', {}, element('div', { className: 'row' }, title, share, log), bar, detail);
  let current = first;
  const row = {
    item,
    ended: false,
    update(controller) {
      current = controller;
      const { progress = 0 } = controller;
      bar.value = progress;
      share.textContent = `${Math.floor(progress * 100)} %`;
      row.tick();
    },
    tick() {
      if (row.ended) return;
      const left = leftOf(current);
      const worker = current.lease?.worker;
      const words = [worker && `by ${worker}`, `for ${span(since(current.startTime))}`, left && `about ${left} left`];
      if (current.cancelRequestTime) words.push('asked to stop');
      say(detail, words.filter(Boolean).join(' · '));
      bar.setAttribute('aria-valuetext', `${share.textContent}${left ? `, about ${left} left` : ''}`);
    },
    end({ outcome = '', status, progress = 0 }) {
      row.ended = true;
      const [kind, text] = outcomes[outcome] ?? outcomes[status] ?? ['', 'Not running any more'];
      item.dataset.state = kind;
      bar.value = progress;
      share.textContent = text;
      say(detail, `after ${span(since(current.startTime))}`);
    },
  };
  row.update(first);
  return row;
}

function nameOf({ operation, type, itemId, backupId }) {
  const what = operation === 'OPERATION_RESTORE' ? 'Restore' : 'Backup';
  const of = { TYPE_COURSE: 'course', TYPE_SECTION: 'section', TYPE_ACTIVITY: 'activity' }[type];
  return of && itemId ? `${what} of ${of} ${itemId}` : `${what} ${backupId.slice(0, 8)}`;
}

const outcomes = {
  OUTCOME_SUCCEEDED: ['ok', 'Succeeded'],
  OUTCOME_SUCCEEDED_WITH_WARNINGS: ['warning', 'With warnings'],
  OUTCOME_FAILED: ['error', 'Failed'],
  OUTCOME_CANCELLED: ['skipped', 'Cancelled'],
  OUTCOME_LOST: ['error', 'Worker lost'],
  STATUS_FINISHED_OK: ['ok', 'Succeeded'],
  STATUS_FINISHED_ERR: ['error', 'Failed'],
  STATUS_AWAITING: ['skipped', 'Back in the queue'],
};

function since(time) {
  return time ? Math.max(0, Date.now() - Date.parse(time)) : 0;
}

/** As long again as it took so far, by share; nothing while there is too little to tell. */
function leftOf({ progress = 0, startTime }) {
  const ms = since(startTime);
  const left = (ms * (1 - progress)) / progress;
  return progress >= 0.02 && ms > 5000 && left >= 1000 ? span(left) : '';
}

function span(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

/** Rows in the page. */
const MOST = 100;
const PER_QUESTION = 50;
const LINGER_MS = 15_000;
