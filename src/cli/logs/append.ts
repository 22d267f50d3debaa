import { once } from 'node:events';
import type { LogLevel } from '../../gen/backup/v1/entry_pb.ts';
import { openConnection } from '../connection.ts';
import { Notes } from '../notes.ts';
import type { Session } from '../session.ts';
import { byteLines } from './byte-lines.ts';
import { levelDetector } from './detect-level.ts';
import { messagesOf } from './messages.ts';

type Options = { level: LogLevel; detectLevel?: true; tee?: true; maxLine: number; quiet?: true };

/** Appends standard input until it ends. What was read when it fails, or the user has enough, is kept if that is still possible. */
export async function appendLogs(session: Session, options: Options, backupId: string): Promise<void> {
  const notes = new Notes(session, options.quiet);
  using connection = openConnection(session.settings);
  const writer = connection.ingest({
    backupId,
    onReconnect: notes.interrupted,
    get patienceMs() {
      heard();
      return notes.patienceMs;
    },
  });
  let acknowledged = 0;
  const heard = () => {
    if (writer.acknowledged > acknowledged) notes.heard();
    acknowledged = writer.acknowledged;
  };
  const levelOf = options.detectLevel ? levelDetector(options.level) : () => options.level;
  const tally = { written: 0, pieces: 0, mended: 0 };
  try {
    for await (const { bytes, piece } of byteLines(inputOf(session, options.tee), options.maxLine)) {
      heard();
      const { messages, mended } = messagesOf(bytes, options.maxLine);
      const level = levelOf(messages[0]!);
      for (const message of messages) {
        await writer.write(level, message);
        tally.written++;
      }
      if (piece || messages.length > 1) tally.pieces += messages.length;
      if (mended) tally.mended++;
    }
    await writer.close();
  } finally {
    tell(notes, { ...tally, dropped: writer.dropped, kept: writer.acknowledged - writer.dropped });
  }
}

async function* inputOf({ signal }: Session, tee = false): AsyncGenerator<Buffer> {
  const input = process.stdin;
  const copy = tee ? copier() : undefined;
  // A program in the same pipe was interrupted as well, and what it says last is worth to be read.
  const end = () => input.destroy();
  let late: NodeJS.Timeout | undefined;
  const interrupted = () => {
    late = setTimeout(end, input.isTTY ? 0 : LAST_WORDS_MS);
  };
  signal.addEventListener('abort', interrupted, { once: true });
  try {
    for await (const chunk of input) {
      await copy?.(chunk as Buffer);
      yield chunk as Buffer;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    clearTimeout(late);
    signal.removeEventListener('abort', interrupted);
  }
}

/** Copies to standard output until nobody reads it any more, which is no reason to keep no more. */
function copier(): (chunk: Buffer) => Promise<void> {
  const { stdout } = process;
  let isOpen = true;
  stdout.removeAllListeners('error').on('error', () => {
    isOpen = false;
  });
  return async chunk => {
    if (isOpen && !stdout.write(chunk)) await once(stdout, 'drain').catch(() => {});
  };
}

type Tally = { written: number; kept: number; dropped: number; pieces: number; mended: number };

function tell(notes: Notes, { written, kept, dropped, pieces, mended }: Tally): void {
  const facts = [`${kept} ${kept === 1 ? 'entry' : 'entries'} kept`];
  if (dropped > 0) facts.push(`${dropped} left out by the service, which keeps none of their level`);
  if (kept + dropped < written) facts.push(`${written - kept - dropped} not known to be kept`);
  if (pieces > 0) facts.push(`${pieces} of them pieces of lines that were too long`);
  if (mended > 0) facts.push(`${mended} lines with NUL, or bytes that are not UTF-8, which were replaced`);
  notes.say(facts.join(', '));
}

/** Milliseconds. */
const LAST_WORDS_MS = 5000;
