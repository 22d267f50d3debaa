import { byId, say } from './elements.js';
import { showLog } from './log.js';
import { showReport } from './report.js';
import { showRuns } from './runs.js';

/** What is connected, by part. */
const open = new Map();

const stateOf = part => isOpen => {
  open.set(part, isOpen);
  const all = [...open.values()].every(Boolean);
  byId('connection').dataset.state = all ? 'live' : 'waiting';
  say(byId('connection'), all ? 'Live' : 'Reconnecting');
};

say(byId('connection'), 'Connecting');

for (const part of ['runs', 'log']) open.set(part, false);
showRuns({ state: stateOf('runs') });
const log = showLog({ state: stateOf('log') });
const report = showReport({ state: stateOf('report') });

// The address says what is shown, so it can be shared, and the browser's own buttons work.
const asked = () => new URLSearchParams(location.search);
let shown = '';

function showAsked() {
  const backup = asked().get('backup') ?? '';
  const wanted = asked().get('level') ?? '';
  const radios = [...document.getElementsByName('level')];
  const radio = radios.find(({ value }) => value === wanted) ?? radios.at(-1);
  radio.checked = true;
  const now = `${backup} ${radio.value}`;
  if (now !== shown) log.show(backup, radio.value);
  shown = now;
}

function go(changes) {
  const query = asked();
  for (const [name, value] of Object.entries(changes)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  history.pushState(null, '', query.size > 0 ? `/?${query}` : '/');
  showAsked();
}

document.addEventListener('click', event => {
  const link = event.target.closest?.('a[href^="/"]');
  if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const { searchParams } = new URL(link.href);
  if (link.dataset.backup) {
    go({ backup: link.dataset.backup });
    if (!link.closest('#log')) byId('log').scrollIntoView({ block: 'nearest' });
    byId('log-lines').focus({ preventScroll: true });
  } else {
    go({ status: searchParams.get('status'), from: searchParams.get('from') });
    void report.refresh();
  }
});
byId('log-levels').addEventListener('change', ({ target }) =>
  go({ level: target.value === 'debug' ? '' : target.value }),
);
byId('log').addEventListener('scope', ({ detail }) => {
  go({ backup: detail });
  byId('log-lines').focus({ preventScroll: true });
});
addEventListener('popstate', () => {
  showAsked();
  void report.refresh();
});

showAsked();
