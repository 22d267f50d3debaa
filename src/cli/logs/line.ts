import { timestampDate } from '@bufbuild/protobuf/wkt';
import { LogLevel } from '../../gen/backup/v1/entry_pb.ts';
import type { LogEntry } from '../../gen/backup/v1/log_pb.ts';
import type { Ink, Paint } from '../terminal/paint.ts';
import { printable } from '../terminal/text.ts';
import { MANY_IDS, ShortIds } from './short-ids.ts';

export type Look = {
  paint: Paint;
  /** How times are told; undefined leaves them out. */
  time: ((time: Date) => string) | undefined;
  /** Whether entries have their numbers. */
  ids: boolean;
  /** Whether lines say which backup they are of. */
  named: boolean;
};

/**
 * How entries look to people: time, level, message. A message of several lines is continued below itself behind a bar, so that none of its lines
 * looks like an entry of its own.
 */
export class LineWriter {
  readonly #look: Look;
  readonly #ids = new ShortIds();
  readonly #names = new Map<string, string>();

  constructor(look: Look) {
    this.#look = look;
  }

  /** With a line feed at the end of each line. */
  textOf(backupId: string, { id, level, message, createTime }: LogEntry): string {
    const { paint } = this.#look;
    const name = this.#nameOf(backupId);
    const number = this.#look.ids ? `${String(id).padStart(6)} ` : '';
    const time = this.#look.time && createTime ? `${this.#look.time(timestampDate(createTime))} ` : '';
    const word = WORDS[level] ?? String(level).padEnd(5);
    const tone: Ink[] = level === LogLevel.DEBUG ? ['dim'] : [];
    const [first, ...more] = message.split(/\r?\n/).map(safe);
    let text = `${name}${paint('dim', number + time)}${paint(INKS[level] ?? [], word)} ${paint(tone, first!)}\n`;
    const margin = ' '.repeat(number.length + time.length + word.length - 1);
    for (const line of more) text += `${name}${margin}${paint('dim', '│')} ${paint(tone, line)}\n`;
    return text;
  }

  /** A line about a backup that is no entry. */
  noteOf(backupId: string, note: string): string {
    return `${this.#nameOf(backupId)}${this.#look.paint('dim', `-- ${note}`)}\n`;
  }

  #nameOf(backupId: string): string {
    if (!this.#look.named) return '';
    let name = this.#names.get(backupId);
    if (!name) {
      if (this.#names.size === MANY_IDS) this.#names.clear();
      const ink = NAMES[this.#names.size % NAMES.length]!;
      name = `${this.#look.paint(ink, this.#ids.of(backupId))} `;
      this.#names.set(backupId, name);
    }
    return name;
  }
}

/** A tab does no harm. */
function safe(line: string): string {
  return line.split('\t').map(printable).join('\t');
}

/** Of levels. */
export const INKS: { [level: number]: Ink[] } = {
  [LogLevel.ERROR]: ['bold', 'red'],
  [LogLevel.WARNING]: ['yellow'],
  [LogLevel.INFO]: ['green'],
  [LogLevel.DEBUG]: ['dim'],
};

/** All as wide. */
const WORDS: { [level: number]: string } = {
  [LogLevel.ERROR]: 'ERROR',
  [LogLevel.WARNING]: 'WARN ',
  [LogLevel.INFO]: 'INFO ',
  [LogLevel.DEBUG]: 'DEBUG',
};

// Not those of levels that alarm.
const NAMES: Ink[] = ['cyan', 'magenta', 'blue', 'green'];
