import { setImmediate } from 'node:timers/promises';
import { create, type DescMessage, type Message, type MessageShape } from '@bufbuild/protobuf';
import { pathToString } from '@bufbuild/protobuf/reflect';
import { createValidator } from '@bufbuild/protovalidate';
import { invalidFields } from '../errors.ts';
import { malformedTimes } from './times.ts';

/**
 * Checks messages against the rules that stand in the `.proto` files, and their times against what a time is.
 *
 * Of a message that takes more than a few KiB on the wire the first thing that is wrong is told and no more: a list of 100,000 bad items, which
 * its limit alone refuses, took 300 to 600 ms to look through, and nothing else runs meanwhile.
 */
export function messageValidator(
  shortcuts: Shortcuts = [],
): (schema: DescMessage, message: Message, bytes?: number) => void {
  const plain = new Map(shortcuts);
  return (schema, message, bytes = 0) => {
    if (plain.get(schema)?.(message)) return;
    const malformed = malformedTimes(schema, message);
    if (malformed.length > 0) throw invalidFields(...malformed);
    const result = (bytes > THOROUGH_BYTES ? quick : thorough).validate(schema, message);
    if (result.kind === 'valid') return;
    if (result.kind === 'error') throw result.error;
    throw invalidFields(
      ...result.violations.map(violation => ({
        field: pathToString(violation.field) || violation.ruleId.split('.')[0]!,
        // Said with the character itself otherwise.
        description: violation.message.replaceAll('\0', 'NUL'),
      })),
    );
  };
}

/**
 * Rules are compiled when they are first used. This uses those of one schema after another, so that no call has to pay for it (80 ms for the
 * first pattern); between others' work, because all of them together take 250 ms, a quarter of a start.
 */
export async function compileRules(schemas: Iterable<DescMessage>, stop: AbortSignal): Promise<void> {
  for (const schema of schemas) {
    for (const validator of [thorough, quick]) {
      await setImmediate();
      if (stop.aborted) return;
      validator.validate(schema, create(schema));
    }
  }
}

/** By schema, whether a message is one of the usual ones that break no rule; what does not look like one is looked at rule by rule. */
export type Shortcuts = Iterable<readonly [DescMessage, (message: Message) => boolean]>;

/** A shortcut of one schema. */
export function shortcut<S extends DescMessage>(
  schema: S,
  isPlain: (message: MessageShape<S>) => boolean,
): [DescMessage, (message: Message) => boolean] {
  return [schema, message => isPlain(message as MessageShape<S>)];
}

const THOROUGH_BYTES = 16 * 1024;

// One of each for the process: what they have compiled is the same for every server.
const thorough = createValidator();
const quick = createValidator({ failFast: true });
