import { create, type DescMessage, type Message } from '@bufbuild/protobuf';
import { pathToString } from '@bufbuild/protobuf/reflect';
import { createValidator } from '@bufbuild/protovalidate';
import { invalidFields } from '../errors.ts';
import { malformedTimes } from './times.ts';

/**
 * Checks messages against the rules that stand in the `.proto` files, and their times against what a time is. Rules are compiled when they
 * are first used, so those of the schemas given are used once here: the first call would pay for it (80 ms for the first pattern).
 *
 * Of a message that takes more than a few KiB on the wire the first thing that is wrong is told and no more: a list of 100,000 bad items, which
 * its limit alone refuses, took 300 to 600 ms to look through, and nothing else runs meanwhile.
 */
export function messageValidator(
  warmUp: Iterable<DescMessage> = [],
): (schema: DescMessage, message: Message, bytes?: number) => void {
  for (const schema of warmUp) for (const validator of [thorough, quick]) validator.validate(schema, create(schema));
  return (schema, message, bytes = 0) => {
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

const THOROUGH_BYTES = 16 * 1024;

// One of each for the process: what they have compiled is the same for every server.
const thorough = createValidator();
const quick = createValidator({ failFast: true });
