import type { DescEnum, DescField, DescMessage } from '@bufbuild/protobuf';
import { ScalarType } from '@bufbuild/protobuf';
import { commentOf } from './comment.ts';
import { paragraphs, table } from './markdown.ts';
import { type Proto, shortName } from './proto.ts';
import { rulesAmong, rulesOf } from './rules.ts';

/** A message or an enum, under a heading of this depth. */
export function typeSection(proto: Proto, type: DescMessage | DescEnum, depth: number): string {
  const heading = `${'#'.repeat(depth)} ${shortName(type)}`;
  const comment = proto.linked(commentOf(type));
  return paragraphs(heading, comment, type.kind === 'message' ? fields(proto, type) : values(proto, type));
}

function fields(proto: Proto, message: DescMessage): string {
  const rows = message.fields.map(field => [
    `\`${field.name}\``,
    typeOf(proto, field),
    rulesOf(field),
    proto.linked(whatItIs(field)),
  ]);
  const among = rulesAmong(message).map(rule => `- ${rule}`);
  return paragraphs(
    rows.length > 0 ? table(['field', 'type', 'rule', ''], rows) : 'It has no fields.',
    among.length > 0 ? `Besides:\n\n${among.join('\n')}` : '',
  );
}

function whatItIs(field: DescField): string {
  const { oneof } = field;
  return paragraphs(oneof ? `(${oneof.name}, one of ${oneof.fields.length})` : '', commentOf(field)).replace(
    '\n\n',
    ' ',
  );
}

function values(proto: Proto, { values }: DescEnum): string {
  const rows = values.map(value => [`\`${value.name}\``, String(value.number), proto.linked(commentOf(value))]);
  return table(['value', 'number', ''], rows);
}

function typeOf(proto: Proto, field: DescField): string {
  const one = field.message ?? field.enum;
  const scalar = field.scalar === undefined ? '' : ScalarType[field.scalar].toLowerCase();
  const name = one ? proto.linkTo(one) : scalar;
  if (field.fieldKind === 'list') return `${name}, repeated`;
  return field.proto.proto3Optional ? `${name}, optional` : name;
}
