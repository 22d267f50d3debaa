import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { scopeOf } from '../../src/identity/scope.ts';
import { commentOf } from './comment.ts';
import { typesIn } from './declared.ts';
import { firstSentence, paragraphs, table } from './markdown.ts';
import { typeSection } from './message.ts';
import type { Proto } from './proto.ts';

/** A service: each method with all that belongs to it alone, and behind them what several share. */
export function servicePage(proto: Proto, service: DescService): string {
  const shared = typesIn(service.file).filter(type => !proto.homeOf(type));
  return paragraphs(
    `# ${service.name}`,
    `\`${service.typeName}\``,
    proto.linked(commentOf(service)),
    methodTable(proto, service),
    ...service.methods.map(method => methodSection(proto, method)),
    shared.length > 0 ? '## Messages' : '',
    ...shared.map(type => typeSection(proto, type, 3)),
  );
}

export function methodTable(proto: Proto, service: DescService): string {
  const rows = service.methods.map(method => [
    proto.linkToMethod(method),
    kindOf(method),
    `\`${scopeOf(method)}\``,
    proto.linked(firstSentence(commentOf(method)), method.name),
  ]);
  return table(['method', 'kind', 'scope', ''], rows);
}

function methodSection(proto: Proto, method: DescMethod): string {
  const own = typesIn(method.parent.file).filter(type => proto.homeOf(type) === method);
  const first = [method.input, method.output].filter(type => own.includes(type));
  return paragraphs(
    `## ${method.name}`,
    `${kindOf(method)} · scope \`${scopeOf(method)}\` · ${proto.linkTo(method.input)} → ${proto.linkTo(method.output)}`,
    proto.linked(commentOf(method), method.name),
    ...[...first, ...own.filter(type => !(first as unknown[]).includes(type))].map(type => typeSection(proto, type, 3)),
  );
}

function kindOf({ methodKind }: DescMethod): string {
  return KINDS[methodKind];
}

const KINDS: Record<DescMethod['methodKind'], string> = {
  unary: 'one request, one answer',
  server_streaming: 'a stream of answers',
  client_streaming: 'a stream of requests',
  bidi_streaming: 'streams both ways',
};
