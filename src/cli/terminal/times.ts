import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt';
import type { Times } from '../settings.ts';

/** A time as the user wants to see it, to the second; `-` when there is none. */
export function timeText(time: Timestamp | undefined, times: Times, nowMs = Date.now()): string {
  if (!time) return '-';
  const ms = millisOf(time);
  if (times === 'relative') return relative(ms - nowMs);
  if (times === 'iso') return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
  const local = new Date(ms);
  const date = [local.getFullYear(), two(local.getMonth() + 1), two(local.getDate())].join('-');
  return `${date} ${[local.getHours(), local.getMinutes(), local.getSeconds()].map(two).join(':')}`;
}

/** `3m ago`, `in 2h 5m`, `now`. */
export function relative(ms: number): string {
  if (Math.abs(ms) < 1000) return 'now';
  return ms < 0 ? `${durationText(-ms)} ago` : `in ${durationText(ms)}`;
}

/** The two largest units: `0s`, `850ms`, `42s`, `3m 5s`, `2h 10m`, `4d 3h`. */
export function durationText(ms: number): string {
  if (ms > 0 && ms < 999.5) return `${Math.round(ms)}ms`;
  const seconds = Math.round(ms / 1000);
  for (const [i, [unit, size]] of UNITS.entries()) {
    if (seconds < size) continue;
    const next = UNITS[i + 1];
    const rest = next ? Math.trunc((seconds % size) / next[1]) : 0;
    return `${Math.trunc(seconds / size)}${unit}${rest > 0 ? ` ${rest}${next![0]}` : ''}`;
  }
  return '0s';
}

const UNITS: [string, number][] = [
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
  ['s', 1],
];

export function millisOf({ seconds, nanos }: Timestamp | Duration): number {
  return Number(seconds) * 1000 + Math.trunc(nanos / 1_000_000);
}

export function timestampOf(date: Date): { seconds: bigint; nanos: number } {
  const ms = date.getTime();
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: (((ms % 1000) + 1000) % 1000) * 1_000_000 };
}

export function durationOf(ms: number): { seconds: bigint; nanos: number } {
  return { seconds: BigInt(Math.trunc(ms / 1000)), nanos: (ms % 1000) * 1_000_000 };
}

export function two(number: number): string {
  return String(number).padStart(2, '0');
}
