import { byId } from './elements.js';

/** Figures and report, read again every few seconds, as the service renders them. `refresh` does so at once. */
export function showReport({ state }) {
  let timer;
  let asked = 0;
  const refresh = async () => {
    clearTimeout(timer);
    const mine = ++asked;
    const found = await read(location.pathname + location.search);
    if (mine !== asked) return;
    state(found !== undefined);
    for (const id of ['figures', 'report']) replace(byId(id), found?.getElementById(id));
    timer = setTimeout(() => document.hidden || refresh(), EVERY_MS);
  };
  document.addEventListener('visibilitychange', () => document.hidden || refresh());
  timer = setTimeout(refresh, EVERY_MS);
  return { refresh };
}

/** As a document of its own, in which nothing is run; undefined when there is no answer. */
function read(address) {
  const { promise, resolve } = Promise.withResolvers();
  const request = new XMLHttpRequest();
  request.open('GET', address);
  request.responseType = 'document';
  request.timeout = 30_000;
  request.onload = () => resolve(request.response ?? undefined);
  request.onerror = request.ontimeout = () => resolve(undefined);
  request.send();
  return promise;
}

/** Only what has changed, not under a selection, and the focus stays on what it was on. */
function replace(shown, found) {
  if (!found || shown.outerHTML === found.outerHTML) return;
  const selection = getSelection();
  if (!selection.isCollapsed && selection.containsNode(shown, true)) return;
  const { activeElement: focused } = document;
  const path = shown.contains(focused) && selectorOf(focused);
  const fresh = document.importNode(found, true);
  const scrolled = shown.querySelector('.scroll')?.scrollTop ?? 0;
  shown.replaceWith(fresh);
  const scrolls = fresh.querySelector('.scroll');
  if (scrolls) scrolls.scrollTop = scrolled;
  if (path) fresh.querySelector(path)?.focus({ preventScroll: true });
}

function selectorOf({ id, dataset }) {
  if (id) return `#${CSS.escape(id)}`;
  return dataset.backup ? `[data-backup="${CSS.escape(dataset.backup)}"]` : undefined;
}

const EVERY_MS = 5000;
