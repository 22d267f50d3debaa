import { once } from 'node:events';
import type { WriteStream } from 'node:tty';
import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
import { type Timestamp, timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { Format, Settings } from '../settings.ts';
import { type Paint, painter } from './paint.ts';
import { timeText } from './times.ts';

/** Where a command prints what it has found: standard output, in the format that was asked for. */
export type Screen = {
  format: Format;
  paint: Paint;
  /** Whether somebody looks at it, rather than a pipe or a file. */
  isTerminal: boolean;
  /** Of the terminal, in characters; without one, lines are as long as they are. */
  width: number;
  time(time: Timestamp | undefined): string;
  /** The time of this machine; never relative. */
  now(): string;
  /** What no message is for: as JSON, YAML, or as `draw` has it. */
  tell(document: object, draw: () => string): Promise<void>;
  /** One answer: as a document of JSON (proto3's) or YAML, or as `draw` has it. */
  show<S extends DescMessage>(schema: S, message: MessageShape<S>, draw: () => string): Promise<void>;
  /** One of many: as a line of JSON, a document of YAML, or as `draw` has it. */
  item<S extends DescMessage>(schema: S, message: MessageShape<S>, draw: () => string): Promise<void>;
  /** A line or more. Waits until there is room for more. */
  print(text: string): Promise<void>;
  /** The same, with the ends of lines in the text. */
  write(text: string | Uint8Array): Promise<void>;
};

type Environment = Record<string, string | undefined>;

export function screenOf(stream: NodeJS.WriteStream, settings: Settings, environment: Environment): Screen {
  const { output: format, times, color } = settings;
  const isTerminal = Boolean(stream.isTTY);
  const write = async (text: string | Uint8Array) => {
    if (!stream.write(text)) await once(stream, 'drain');
  };
  const print = (text: string) => write(`${text}\n`);
  const tell = async (document: unknown, draw: () => string) => {
    if (format === 'table') return print(draw());
    await print(format === 'json' ? JSON.stringify(document, null, 2) : await yaml(document));
  };
  return {
    format,
    isTerminal,
    paint: painter(color, environment, isTerminal),
    get width() {
      return (stream as WriteStream).columns || Number.POSITIVE_INFINITY;
    },
    time: time => timeText(time, times),
    now: () => timeText(timestampFromDate(new Date()), times === 'relative' ? 'local' : times),
    print,
    write,
    tell,
    show: (schema, message, draw) => tell(format === 'table' ? undefined : toJson(schema, message, WHOLE), draw),
    async item(schema, message, draw) {
      if (format === 'table') return print(draw());
      const json = toJson(schema, message);
      await print(format === 'json' ? JSON.stringify(json) : `---\n${await yaml(json)}`);
    },
  };
}

/** Lists are there although they are empty, so that programs can read all answers alike. */
export const WHOLE = { alwaysEmitImplicit: true };

async function yaml(json: unknown): Promise<string> {
  const { stringify } = await import('yaml');
  return stringify(json).trimEnd();
}
