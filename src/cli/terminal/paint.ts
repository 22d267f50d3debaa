import { styleText } from 'node:util';
import type { Color } from '../settings.ts';

export type Ink = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'blue' | 'magenta' | 'cyan' | 'inverse';

/** Colours a text, or leaves it as it is where there are no colours. An empty list of inks paints nothing. */
export type Paint = (inks: Ink | Ink[], text: string) => string;

type Environment = Record<string, string | undefined>;

/** `--color` decides; in `auto` NO_COLOR (https://no-color.org), then FORCE_COLOR, then whether it is a terminal. */
export function painter(color: Color, environment: Environment, isTerminal: boolean): Paint {
  if (!isColoured(color, environment, isTerminal)) return (_, text) => text;
  return (inks, text) => (inks.length === 0 || text === '' ? text : styleText(inks, text, { validateStream: false }));
}

function isColoured(color: Color, environment: Environment, isTerminal: boolean): boolean {
  if (color !== 'auto') return color === 'always';
  if (environment['NO_COLOR']) return false;
  const forced = environment['FORCE_COLOR'];
  if (forced !== undefined) return forced !== '0' && forced !== 'false';
  return isTerminal && environment['TERM'] !== 'dumb';
}
