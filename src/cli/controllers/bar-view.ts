import { MultiBar, type SingleBar } from 'cli-progress';
import { Status } from '../../gen/backup/v1/controller_pb.ts';
import { ShortIds } from '../logs/short-ids.ts';
import type { Session } from '../session.ts';
import { Pace } from './pace.ts';
import { isFinished, rowOf, type Watched } from './row.ts';
import type { View } from './view.ts';

/** A bar for each run that is not finished, as many as there is room for; above them, one after the other, how the others ended. */
export function barView({ screen }: Session): View {
  const ids = new ShortIds();
  const runs = new Map<string, Watched>();
  const ended = new Set<string>();
  const stream = process.stdout;
  const bars = new MultiBar({
    stream,
    format: (_options, _params, { line }: { line: () => string }) => line(),
    fps: 5,
    // A line that is above the bars pushes them down, so each is drawn whether it has changed or not.
    forceRedraw: true,
    linewrap: false,
    hideCursor: true,
    gracefulExit: false,
  });
  const slots: SingleBar[] = [];

  const row = (run: Watched) =>
    rowOf(run, ids.of(run.controller.backupId), Math.max(20, (stream.columns || 80) - 1), screen.paint, Date.now());
  // In the order of a frame: those first of which there is something to see.
  let order: Watched[] = [];
  bars.on('update-pre', () => {
    const [executing, others]: [Watched[], Watched[]] = [[], []];
    for (const run of runs.values()) (run.controller.status === Status.EXECUTING ? executing : others).push(run);
    order = executing.concat(others);
  });
  const lineOf = (slot: number) => {
    const left = order.length - slots.length + 1;
    if (slot === slots.length - 1 && left > 1) return screen.paint('dim', `and ${left} more`);
    return order[slot] ? row(order[slot]) : screen.paint('dim', 'no run that is not finished');
  };
  const makeRoom = () => {
    const wanted = Math.max(1, Math.min(runs.size, (stream.rows || 24) - 2));
    while (slots.length < wanted) {
      const slot = slots.length;
      slots.push(bars.create(1, 0, { line: () => lineOf(slot) }));
    }
    while (slots.length > wanted) bars.remove(slots.pop()!);
  };
  const above = (line: string) => bars.log(`${line}\x1b[K\n`);
  makeRoom();

  return {
    async show(run) {
      const { backupId } = run.controller;
      if (!isFinished(run.controller)) {
        ended.delete(backupId);
        runs.set(backupId, run);
      } else {
        runs.delete(backupId);
        // After a resumption what has changed lately is told again.
        if (!ended.has(backupId)) above(row(run));
        ended.add(backupId);
        if (ended.size > REMEMBERED) ended.delete(ended.values().next().value!);
      }
      makeRoom();
    },
    async remove(backupId, controller) {
      const wasShown = runs.delete(backupId);
      if (controller && isFinished(controller)) return this.show({ controller, pace: new Pace() });
      if (!controller && wasShown) above(`${ids.of(backupId)}  was deleted`);
      makeRoom();
    },
    say: text => above(text.trimEnd()),
    [Symbol.dispose]() {
      // What goes above is written with the next frame.
      bars.update();
      bars.stop();
    },
  };
}

/** Of the last minute there are hardly more. */
const REMEMBERED = 10_000;
