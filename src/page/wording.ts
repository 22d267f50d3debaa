import { type Duration, durationMs, type Timestamp, timestampDate, timestampMs } from '@bufbuild/protobuf/wkt';
import { type Html, html } from './html.ts';

/** A number as people read it. */
export function count(number: bigint | number): string {
  return number.toLocaleString('en');
}

/** How long something took, in its two largest units at most. */
export function took(duration: Duration): string {
  return inUnits(durationMs(duration));
}

/** A time as seen from now, with the time itself for whoever asks: `past` and `future` say how, with a $ for the distance. */
export function seen(time: Timestamp, past: string, future: string): Html {
  const ms = Date.now() - timestampMs(time);
  const exact = timestampDate(time).toISOString();
  const text = (ms >= 0 ? past : future).replace('$', inUnits(Math.abs(ms)));
  return html`<time datetime="${exact}" title="${exact.replace('T', ' ').replace(/\.\d+Z/, ' UTC')}">${text}</time>`;
}

/** `45 s`, `3 min`, `2 h 5 min`, `12 d`. */
function inUnits(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 > 0 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}
