import { LogLevel } from '../../gen/backup/v1/entry_pb.ts';

/**
 * Finds out from how a line begins how important it is: `ERROR ...`, `[warn] ...`, `2026-11-26T02:30:00Z INFO ...`, `Error: ...`. A line that
 * says nothing is of the `usual` level; one that begins with white space belongs to the line before, as in a stack trace.
 */
export function levelDetector(usual: LogLevel): (line: string) => LogLevel {
  let before = usual;
  return line => {
    if (!/^\s+\S/.test(line)) before = levelOf(line) ?? usual;
    return before;
  };
}

function levelOf(line: string): LogLevel | undefined {
  const said = line.slice(0, FAR).match(BEGINNING);
  return said ? LEVELS[(said[1] ?? said[2])!.toUpperCase()] : undefined;
}

const LEVELS: Record<string, LogLevel> = {
  FATAL: LogLevel.ERROR,
  CRITICAL: LogLevel.ERROR,
  ERROR: LogLevel.ERROR,
  ERR: LogLevel.ERROR,
  WARNING: LogLevel.WARNING,
  WARN: LogLevel.WARNING,
  NOTICE: LogLevel.INFO,
  INFO: LogLevel.INFO,
  DEBUG: LogLevel.DEBUG,
  VERBOSE: LogLevel.DEBUG,
  TRACE: LogLevel.DEBUG,
};

/** Bytes of a line that are looked at. */
const FAR = 80;

// Times, brackets and numbers may come before. A word in small letters counts only when it is set off, as in `error:` or `[error]`: a sentence
// may begin with it.
const WORDS = Object.keys(LEVELS).join('|');
const ANY_CASE = WORDS.replace(/[A-Z]/g, letter => `[${letter}${letter.toLowerCase()}]`);
const BEGINNING = new RegExp(`^[\\d\\s:.,+/TZ()<>{}[\\]"'|*#-]*?(?:\\b(${WORDS})\\b|\\b(${ANY_CASE})(?=[:\\]>)|]))`);
