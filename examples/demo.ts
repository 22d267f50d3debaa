import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { MultiBar } from 'cli-progress';
import { LogLevel, Status } from '../src/client/main.ts';
import { checkFolder } from './archive.ts';
import { messageOf } from './client.ts';
import { lineOf, nameOf, tailLogs } from './tail.ts';
import { backUpFolder, newBackupId } from './worker.ts';

const REPOSITORY = fileURLToPath(new URL('..', import.meta.url));

/** Starts the service, backs a folder up and watches that live; then compares what was written with what was seen. */
async function demo(folder: string, stop: AbortController): Promise<void> {
  await checkFolder(folder);
  await using service = await startService(stop);
  const backupId = newBackupId();
  console.log(`The service answers on ${service.address}.\nBackup ${backupId} of ${folder}`);

  const leave = new AbortController();
  const worker = backUpFolder(service.address, folder, backupId, stop.signal);
  const tail = watch(service.address, backupId, leave.signal);
  // A run that failed has an end, too, and the tail should get to it; unless the service could not be told.
  worker.catch(() => delay(3000, undefined, { ref: false }).then(() => leave.abort()));
  tail.catch(error => stop.abort(error));
  const [written, received] = await Promise.allSettled([worker, tail]);
  if (written.status === 'rejected') throw written.reason;
  if (received.status === 'rejected') throw received.reason;

  const { file, files, bytes, logEntries } = written.value;
  console.log(`archive: ${file} (${files} files, ${sizes.format(bytes)})`);
  console.log(`log entries written: ${logEntries}`);
  console.log(`log entries received by the tail: ${received.value}`);
  if (received.value !== logEntries) throw new Error('the tail has not received what was written');
}

const sizes = new Intl.NumberFormat('en', { notation: 'compact', style: 'unit', unit: 'byte', unitDisplay: 'narrow' });

/** The service as a process of its own, out of reach of a Ctrl-C at the terminal: the worker has something to tell it then. */
async function startService(stop: AbortController) {
  stop.signal.throwIfAborted();
  const child = spawn(process.execPath, ['src/main.ts'], {
    cwd: REPOSITORY,
    env: { ...process.env, LISTEN: '127.0.0.1:0', DATA_DIR: '.data/demo', SERVICE_LOG: 'error' },
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit');
  const kill = () => child.kill();
  process.once('exit', kill);
  await using starting = new AsyncDisposableStack();
  starting.defer(async () => {
    kill();
    const late = setTimeout(() => child.kill('SIGKILL'), 30_000);
    await exit;
    clearTimeout(late);
    process.off('exit', kill);
  });

  const { promise: ready, resolve, reject } = Promise.withResolvers<string>();
  exit.then(([code, signal]) => stop.abort(new Error(`the service has ended: ${code ?? signal}`)));
  stop.signal.addEventListener('abort', () => reject(stop.signal.reason));
  createInterface({ input: child.stdout }).on('line', line => {
    const address = /^Backup Management serves gRPC on (.*)$/.exec(line)?.[1];
    if (address) resolve(address);
    else console.error(line);
  });
  const address = await ready;
  const running = starting.move();
  return { address, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** Shows a run as its tail tells it, and returns how many entries came. */
async function watch(address: string, backupId: string, leave: AbortSignal): Promise<number> {
  using screen = process.stdout.isTTY ? barScreen() : plainScreen();
  let received = 0;
  let shown = 0;
  for await (const event of tailLogs(address, [backupId], leave)) {
    if (event.case === 'state') screen.state(event.value.progress, nameOf(Status, event.value.status));
    if (event.case !== 'entries') continue;
    for (const entry of event.value.entries) {
      received++;
      // Nobody can read thousands of lines: the first ones, then some, but all that tell of trouble.
      const show = received <= 20 || entry.level <= LogLevel.WARNING || Date.now() - shown >= screen.sampleMs;
      if (show) shown = Date.now();
      screen.entry(lineOf(entry), show, received);
    }
  }
  return received;
}

function barScreen() {
  const bars = new MultiBar({
    stream: process.stdout,
    format: '{bar} {percentage} % {status} | {entries} entries | {last}',
  });
  const bar = bars.create(1, 0, { status: '', entries: 0, last: '' });
  return {
    sampleMs: 100,
    state: (progress: number, status: string) => bar.update(progress, { status }),
    entry(line: string, show: boolean, entries: number) {
      if (show) bars.log(`${line}\n`);
      bar.update({ entries, last: line });
    },
    [Symbol.dispose]() {
      bar.update({ last: '' });
      bars.update();
      bars.stop();
    },
  };
}

function plainScreen() {
  let last = { status: '', at: 0 };
  return {
    sampleMs: 1000,
    state(progress: number, status: string) {
      if (status === last.status && Date.now() - last.at < 1000) return;
      last = { status, at: Date.now() };
      console.log(`${status} ${Math.floor(progress * 100)} %`);
    },
    entry(line: string, show: boolean) {
      if (show) console.log(line);
    },
    [Symbol.dispose]() {},
  };
}

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // More than once: npm passes a Ctrl-C on that has come here already.
  process.on(name, () => {
    process.exitCode = 128 + constants.signals[name];
    stop.abort(new Error(`interrupted by ${name}`));
  });
}
try {
  await demo(resolve(process.env['INIT_CWD'] ?? '', process.argv[2] ?? REPOSITORY), stop);
} catch (error) {
  console.error(messageOf(error));
  process.exitCode ||= 1;
}
