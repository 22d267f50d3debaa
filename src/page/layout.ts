import { type Html, html } from './html.ts';

/** The page around figures and report. No script and no style stands in it: the policy that is sent with it forbids both. */
export function layout(head: Html, courses: Html): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Backup Management</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
${['page', 'figures', 'report', 'runs', 'log'].map(
  name => html`<link rel="stylesheet" href="/${name}.css">
`,
)}
<script type="module" src="/page.js"></script>
</head>
<body>
<a class="skip" href="#report">Skip to the course report</a>
<header>
<h1><img src="/icon.svg" alt="" width="28" height="28">Backup Management</h1>
<p id="connection" role="status" data-state="waiting"></p>
</header>
<main>
${head}
<section id="runs" aria-labelledby="runs-title">
<h2 id="runs-title">Running now <span id="runs-count"></span></h2>
<ul id="runs-list" aria-labelledby="runs-title"></ul>
<p class="empty" id="runs-empty">Progress is shown live, which needs JavaScript.</p>
</section>
${courses}
<section id="log" aria-labelledby="log-title">
<div class="bar">
<h2 id="log-title">Log</h2>
<p id="log-of"><span id="log-scope">All backups</span> <button type="button" id="log-all" hidden>Show all backups</button></p>
<p id="log-note" role="status"></p>
<fieldset id="log-levels"><legend>Lines to show</legend>
${levels.map(([value, text]) => html`<label><input type="radio" name="level" value="${value}"><span>${text}</span></label>`)}
</fieldset>
</div>
<div class="frame">
<div id="log-lines" role="log" aria-live="off" aria-labelledby="log-title" tabindex="0" data-empty="The log is shown live, which needs JavaScript."></div>
<button type="button" id="log-latest" hidden>Jump to the latest line</button>
</div>
</section>
</main>
</body>
</html>
`;
}

const levels = [
  ['error', 'Errors'],
  ['warning', 'Warnings+'],
  ['info', 'Info+'],
  ['debug', 'All'],
] as const;
