import { once } from 'node:events';
import type { WriteStream } from 'node:tty';
import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
import type { Timestamp } from '@bufbuild/protobuf/wkt';
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
  /** One answer: as a document of JSON (proto3's) or YAML, or as `draw` has it. */
  show<S extends DescMessage>(schema: S, message: MessageShape<S>, draw: () => string): Promise<void>;
  /** One of many: as a line of JSON, a document of YAML, or as `draw` has it. */
  item<S extends DescMessage>(schema: S, message: MessageShape<S>, draw: () => string): Promise<void>;
  /** Waits until there is room for more. */
  print(text: string): Promise<void>;
};

type Environment = Record<string, string | undefined>;

export function screenOf(stream: NodeJS.WriteStream, settings: Settings, environment: Environment): Screen {
  const { output: format, times, color } = settings;
  const isTerminal = Boolean(stream.isTTY);
  const print = async (text: string) => {
    if (!stream.write(`${text}\n`)) await once(stream, 'drain');
  };
  return {
    format,
    isTerminal,
    paint: painter(color, environment, isTerminal),
    get width() {
      return (stream as WriteStream).columns || Number.POSITIVE_INFINITY;
    },
    time: time => timeText(time, times),
    print,
    async show(schema, message, draw) {
      if (format === 'table') return print(draw());
      const json = toJson(schema, message);
      await print(format === 'json' ? JSON.stringify(json, null, 2) : await yaml(json));
    },
    async item(schema, message, draw) {
      if (format === 'table') return print(draw());
      const json = toJson(schema, message);
      await print(format === 'json' ? JSON.stringify(json) : `---\n${await yaml(json)}`);
    },
  };
}

async function yaml(json: unknown): Promise<string> {
  const { stringify } = await import('yaml');
  return stringify(json).trimEnd();
}
