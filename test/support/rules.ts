import assert from 'node:assert/strict';
import {
  create,
  type DescFile,
  type DescMessage,
  getOption,
  hasOption,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import {
  field as fieldRules,
  message as messageRules,
  oneof as oneofRules,
} from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { ErrorReason, StatusError, toStatus } from '../../src/errors.ts';
import { messageValidator } from '../../src/grpc/validate.ts';
import { ingestShortcut } from '../../src/ingest/message.ts';
import { appendShortcut } from '../../src/log/message.ts';
import { workShortcuts } from '../../src/work/message.ts';
import { detailsOf } from './status.ts';

/** Values on both sides of a rule's edge; those refused by the path that must be named. */
type Edge = { accepts: unknown[]; refuses: Record<string, unknown[]> };

/**
 * What is tried on a message: for each field values that replace those of `valid`, and under `whole` sets of fields for the rules that
 * compare fields with each other.
 */
type Edges<S extends DescMessage> = { [F in Exclude<keyof MessageShape<S>, keyof Message> | 'whole']?: Edge };

/** The table of one message: its schema, a message that is valid, and the edges. */
type Table = { schema: DescMessage; valid: object; edges: Record<string, Edge> };

export function table<S extends DescMessage>(schema: S, valid: MessageInitShape<S>, edges: Edges<S>): Table {
  return { schema, valid, edges: edges as Record<string, Edge> };
}

// With the shortcuts of the service: they must not let pass what a rule refuses.
const validate = messageValidator([appendShortcut, ingestShortcut, ...workShortcuts]);

/** Describes the rules of a file: each value of the tables is tried, and every rule of the file must be broken by a row of its own. */
export function describeRules(file: DescFile, tables: Table[]): void {
  describe(`The rules of ${file.name}.proto`, () => {
    for (const { schema, valid, edges } of tables) {
      it(`accept a plain ${schema.name}`, () => accepts(schema, valid));

      for (const [name, edge] of Object.entries(edges)) {
        const message = (value: unknown) =>
          name === 'whole' ? { ...valid, ...(value as object) } : { ...valid, [name]: value };
        it(`hold ${schema.name}.${name}`, () => {
          assert.ok(Object.keys(edge.refuses).length > 0, 'nothing is refused');
          for (const value of edge.accepts) accepts(schema, message(value));
          for (const [path, values] of Object.entries(edge.refuses)) {
            for (const value of values) refuses(schema, message(value), path);
          }
        });
      }
    }

    it('are all in the table', () => {
      const refused = new Set(tables.flatMap(refusals));
      const ruled = file.messages.flatMap(schema => rulesOf(schema).map(rule => `${schema.name}.${rule}`));
      assert.deepEqual(
        ruled.filter(rule => !refused.has(rule)),
        [],
        'rules that no row breaks',
      );
    });
  });
}

/** Asserts that a message is accepted. */
export function accepts(schema: DescMessage, init: object): void {
  validate(schema, create(schema, init as MessageInitShape<DescMessage>));
}

/** Asserts that a message is refused as INVALID_FIELD and that exactly this path is named. */
export function refuses(schema: DescMessage, init: object, path: string): void {
  const error = errorOf(() => accepts(schema, init));
  assert.ok(error, `accepted: ${show(init)}, expected a refusal of ${path}`);
  assert.ok(error instanceof StatusError, `${String(error)}: ${show(init)}`);
  assert.equal(error.reason, ErrorReason.INVALID_FIELD);
  const violations = detailsOf(toStatus(error, '').metadata!).badRequest!.fieldViolations;
  assert.deepEqual([...new Set(violations.map(({ field }) => field))], [path], show(init));
  assert.ok(violations.every(({ description }) => description.length > 0));
}

function errorOf(run: () => void): unknown {
  try {
    run();
    return undefined;
  } catch (error) {
    return error;
  }
}

/** What the rows of a table break: `Message.row: path`, whichever item of a list it is. */
function refusals({ schema, edges }: Table): string[] {
  return Object.entries(edges).flatMap(([row, { refuses }]) =>
    Object.keys(refuses).map(path => `${schema.name}.${row}: ${path.replace(/\d+/, '')}`),
  );
}

/** What has to be broken, `row: path`: the rules of a message by the name their ids begin with, those of its oneofs and of its fields. */
function rulesOf(schema: DescMessage): string[] {
  return [
    ...getOption(schema, messageRules).cel.map(({ id }) => `whole: ${id.split('.')[0]}`),
    ...schema.oneofs
      .filter(oneof => hasOption(oneof, oneofRules))
      .map(({ localName, name }) => `${localName}: ${name}`),
    ...schema.fields.flatMap(field => {
      if (!hasOption(field, fieldRules)) return [];
      // Members of a oneof are set by the name of the oneof.
      const row = field.oneof?.localName ?? field.localName;
      const { type } = getOption(field, fieldRules);
      const items = type.case === 'repeated' && type.value.items ? [`${row}: ${field.name}[]`] : [];
      return [`${row}: ${field.name}`, ...items];
    }),
  ];
}

function show(init: object): string {
  const short = (_: string, value: unknown) => {
    if (value instanceof Uint8Array) return `${value.length} bytes`;
    return typeof value === 'bigint' ? `${value}` : value;
  };
  return JSON.stringify(init, short).slice(0, 300);
}
