import { type DescEnum, type DescField, type DescMessage, getOption, type Message } from '@bufbuild/protobuf';
import { isReflectList, isReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import * as validate from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';

/** What a field may hold, in words; empty when that is anything. Throws of a rule that it has no words for. */
export function rulesOf(field: DescField): string {
  const rules = getOption(field, validate.field);
  const said = words(rules, field.enum);
  if (rules.ignore === validate.Ignore.IF_ZERO_VALUE) said.push('or left out');
  return said.join('; ');
}

/** What has to be true of a message as a whole. */
export function rulesAmong(message: DescMessage): string[] {
  const rules = getOption(message, validate.message).cel.map(({ message }) => message);
  const oneofs = message.oneofs
    .filter(oneof => getOption(oneof, validate.oneof).required)
    .map(oneof => `one of ${oneof.fields.map(({ name }) => `\`${name}\``).join(', ')} is required`);
  return [...rules, ...oneofs];
}

function words(rules: validate.FieldRules, values: DescEnum | undefined): string[] {
  const said = rules.required ? ['required'] : [];
  const { case: kind, value: typed } = rules.type;
  const schema = validate.FieldRulesSchema.fields.find(({ localName }) => localName === kind)?.message;
  if (schema) said.push(...typedWords(setOf(typed!, schema), values, kind === 'bytes' ? 'bytes' : 'characters'));
  said.push(...rules.cel.map(({ message }) => message));
  return said;
}

function typedWords(rules: Map<string, unknown>, values: DescEnum | undefined, units: string): string[] {
  const said: string[] = [];
  for (const [least, most, unit] of RANGES) {
    const bounds = [rules.get(least), rules.get(most)].map(value => (value === undefined ? '' : bound(value)));
    for (const rule of [least, most]) rules.delete(rule);
    const range = rangeOf(bounds[0]!, bounds[1]!);
    if (range) said.push(unit === 'length' ? `${range} ${units}` : range + unit);
  }
  for (const [rule, value] of rules) {
    const say = WORDS[rule];
    if (!say) throw new Error(`there are no words for the rule ${rule}`);
    said.push(...[say(value, values)].flat());
  }
  return said;
}

/** Rules of a least and a most are told together. */
const RANGES: [least: string, most: string, unit: string][] = [
  ['gte', 'lte', ''],
  ['min_len', 'max_len', 'length'],
  ['min_bytes', 'max_bytes', ' bytes'],
  ['min_items', 'max_items', ' of them'],
];

const WORDS: Record<string, (value: unknown, values: DescEnum | undefined) => string | string[]> = {
  pattern: pattern => PATTERNS[String(pattern)] ?? `matches \`${pattern}\``,
  uuid: () => 'a UUID',
  not_contains: text => `without ${text === '\0' ? 'NUL' : `\`${text}\``}`,
  finite: () => 'finite',
  unique: () => 'all different',
  defined_only: () => 'one that is declared',
  in: (all, values) => `one of ${named(all, values)}`,
  not_in: (all, values) => `not ${named(all, values)}`,
  items: (each, values) => words(each as validate.FieldRules, values).map(said => `each ${said}`),
};

const PATTERNS: Record<string, string> = { '^[0-9a-f]{32}$': '32 of 0-9 and a-f' };

function rangeOf(least: string, most: string): string {
  if (least && most) return least === most ? least : `${least} to ${most}`;
  if (least) return `${least} or more`;
  return most && `at most ${most}`;
}

function bound(value: unknown): string {
  if (typeof value !== 'object' || value === null) return Number(value).toLocaleString('en-GB');
  const { $typeName, seconds, nanos } = value as Message & { seconds: bigint; nanos: number };
  const time = $typeName.endsWith('.Timestamp');
  if (time) return new Date(Number(seconds) * 1000).toISOString().replace('.000Z', nanos ? '.999…Z' : 'Z');
  return nanos ? `${Number(seconds) * 1000 + nanos / 1e6} ms` : `${Number(seconds).toLocaleString('en-GB')} s`;
}

function named(all: unknown, values: DescEnum | undefined): string {
  const names = (all as (number | string)[]).map(one => `\`${values?.value[Number(one)]?.name ?? one}\``);
  return names.join(', ');
}

/** The rules that are set, by the names of their fields. */
function setOf(rules: Message, schema: DescMessage): Map<string, unknown> {
  const message = reflect(schema, rules);
  const set = schema.fields.filter(field => message.isSet(field));
  return new Map(set.map(field => [field.name, plain(message.get(field))]));
}

function plain(value: unknown): unknown {
  if (isReflectMessage(value)) return value.message;
  return isReflectList(value) ? [...value] : value;
}
