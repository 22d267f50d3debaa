import { timestampDate } from '@bufbuild/protobuf/wkt';
import {
  type Controller,
  OperationSchema,
  Outcome,
  Status,
  StatusSchema,
  Type,
  TypeSchema,
} from '../../gen/backup/v1/controller_pb.ts';
import { nameOf } from '../names.ts';
import type { Ink, Paint } from '../terminal/paint.ts';
import { cut } from '../terminal/table.ts';
import { durationText } from '../terminal/times.ts';
import type { Pace } from './pace.ts';

/** A run that is watched: what was told of it last, and how fast it goes. */
export type Watched = { controller: Controller; pace: Pace };

/** What a run is like now, as a line of up to `width` columns with a bar while it is executed. `now` is in milliseconds. */
export function rowOf(run: Watched, name: string, width: number, paint: Paint, now: number): string {
  const head = `${name}  ${subjectOf(run.controller).padEnd(SUBJECT)}  `;
  if (run.controller.status !== Status.EXECUTING) return cut(head + stateOf(run, paint), width);
  const { left, right } = pieces(run, now);
  const room = Math.min(LONGEST_BAR, width - head.length - left.length - right.length - 2);
  const drawn = room >= SHORTEST_BAR ? `${bar(run.controller.progress, room, paint)} ` : '';
  return cut(`${head}${drawn}${left} ${paint('dim', right)}`, width);
}

/** The same in words, for where nothing can be drawn. */
export function wordsOf(run: Watched, now: number): string {
  const subject = subjectOf(run.controller);
  if (run.controller.status !== Status.EXECUTING) return `${subject}: ${stateOf(run, (_, text) => text)}`;
  const { left, right } = pieces(run, now);
  return `${subject}: EXECUTING ${left.trim()} ${right}`.trimEnd();
}

export function subjectOf({ operation, type, itemId }: Controller): string {
  const what = nameOf(OperationSchema, operation).toLowerCase();
  return type === Type.UNSPECIFIED ? what : `${what} ${nameOf(TypeSchema, type).toLowerCase()} ${itemId}`;
}

export function isFinished({ status }: Controller): boolean {
  return status === Status.FINISHED_OK || status === Status.FINISHED_ERR;
}

function pieces({ controller, pace }: Watched, now: number): { left: string; right: string } {
  const began = controller.startTime && timestampDate(controller.startTime).getTime();
  const rate = pace.rate(now, began);
  const remaining = pace.remaining(now, began);
  const facts = [
    rate === undefined ? '' : `${perMinute(rate)} %/min`.padStart(11),
    remaining === undefined || remaining > LONGEST_WAIT ? '' : `ETA ${durationText(remaining)}`.padEnd(11),
    controller.cancelRequestTime ? 'to be cancelled' : '',
    controller.attempt > 1 ? `attempt ${controller.attempt}` : '',
  ];
  return { left: `${percent(controller.progress).padStart(3)} %`, right: facts.filter(Boolean).join('  ') };
}

function stateOf({ controller }: Watched, paint: Paint): string {
  const { status, outcome, progress, startTime, endTime } = controller;
  const began = startTime && timestampDate(startTime).getTime();
  const took = began !== undefined && endTime ? ` ${durationText(timestampDate(endTime).getTime() - began)}` : '';
  if (status === Status.FINISHED_OK) {
    const warned = outcome === Outcome.SUCCEEDED_WITH_WARNINGS;
    return paint(warned ? 'yellow' : 'green', `✔ succeeded${warned ? ' with warnings' : ''}${took && ` in${took}`}`);
  }
  if (status === Status.FINISHED_ERR) {
    const at = progress > 0 ? ` at ${percent(progress)} %` : '';
    return paint(
      ENDS[outcome] === 'cancelled' ? 'yellow' : 'red',
      `✘ ${ENDS[outcome] ?? 'failed'}${at}${took && ` after${took}`}`,
    );
  }
  const due = controller.executionTime && timestampDate(controller.executionTime);
  return `${nameOf(StatusSchema, status)}${due && status === Status.AWAITING ? ` not before ${due.toISOString()}` : ''}`;
}

function bar(progress: number, width: number, paint: Paint): string {
  const eighths = Math.round(Math.min(1, Math.max(0, progress)) * width * 8);
  const full = Math.floor(eighths / 8);
  const done = '█'.repeat(full) + (eighths % 8 ? EIGHTHS[eighths % 8]! : '');
  return paint(INK, done) + paint('dim', '░'.repeat(width - done.length));
}

/** 100 only when it is all. */
export function percent(progress: number): string {
  return String(progress >= 1 ? 100 : Math.floor(progress * 100 + 1e-9));
}

function perMinute(rate: number): string {
  const percents = rate * 60_000 * 100;
  return percents >= 100 ? percents.toFixed(0) : percents >= 1 ? percents.toFixed(1) : percents.toFixed(2);
}

const ENDS: { [outcome: number]: string } = {
  [Outcome.FAILED]: 'failed',
  [Outcome.CANCELLED]: 'cancelled',
  [Outcome.LOST]: 'lost',
};
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const INK: Ink = 'cyan';
const SUBJECT = 20;
const SHORTEST_BAR = 8;
const LONGEST_BAR = 30;
/** Milliseconds: what is further away is a guess that nobody needs. */
const LONGEST_WAIT = 99 * 86_400_000;
