import { typesIn } from './declared.ts';
import { paragraphs } from './markdown.ts';
import { typeSection } from './message.ts';
import type { Proto } from './proto.ts';

/** What belongs to no service of its own. The reasons of errors have a page. */
export function sharedPage(proto: Proto): string {
  const types = proto.files
    .filter(file => file.services.length === 0)
    .flatMap(typesIn)
    .filter(type => type.name !== 'ErrorReason');
  return paragraphs('# Shared messages', ...types.map(type => typeSection(proto, type, 2)));
}
