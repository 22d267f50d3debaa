import { paragraphs } from './markdown.ts';
import type { Proto } from './proto.ts';
import { methodTable } from './service.ts';

export function indexPage(proto: Proto): string {
  return paragraphs(
    '# Reference',
    'Everything that can be called, sent, received, set, counted and typed. It is written by `npm run reference` from what the service runs on, and a test fails when it is not current.',
    [
      '- [Errors](errors.md): every reason, its code, and what to do',
      '- [Settings](settings.md): every environment variable',
      '- [Metrics](metrics.md): everything that Prometheus is told',
      '- [Commands](commands.md): the command line',
      '- [Shared messages](shared.md)',
    ].join('\n'),
    ...proto.services.flatMap(service => [
      `## [${service.name}](${proto.pageOf(service)})`,
      methodTable(proto, service),
    ]),
    'Besides, `grpc.health.v1.Health`, and `grpc.reflection` in v1 and v1alpha.',
  );
}
