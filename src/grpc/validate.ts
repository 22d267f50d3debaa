import { create, type DescMessage, type Message } from '@bufbuild/protobuf';
import { pathToString } from '@bufbuild/protobuf/reflect';
import { createValidator } from '@bufbuild/protovalidate';
import { invalidFields } from '../errors.ts';
import { malformedTimes } from './times.ts';

/**
 * Checks messages against the rules that stand in the `.proto` files, and their times against what a time is. Rules are compiled when they
 * are first used, so those of the schemas given are used once here: the first call would pay for it (80 ms for the first pattern).
 */
export function messageValidator(warmUp: Iterable<DescMessage> = []): (schema: DescMessage, message: Message) => void {
  for (const schema of warmUp) validator.validate(schema, create(schema));
  return (schema, message) => {
    const malformed = malformedTimes(schema, message);
    if (malformed.length > 0) throw invalidFields(...malformed);
    const result = validator.validate(schema, message);
    if (result.kind === 'valid') return;
    if (result.kind === 'error') throw result.error;
    throw invalidFields(
      ...result.violations.map(violation => ({
        field: pathToString(violation.field) || violation.ruleId.split('.')[0]!,
        description: violation.message,
      })),
    );
  };
}

// One for the process: what it has compiled is the same for every server.
const validator = createValidator();
