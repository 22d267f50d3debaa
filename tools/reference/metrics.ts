import { Metrics as CanaryMetrics } from '../../src/cli/canary/metrics.ts';
import type { Books } from '../../src/telemetry/books.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { paragraphs, table } from './markdown.ts';

type Declared = { name: string; help: string; type: string; labelNames?: string[]; constructor: { name: string } };

/** As the registry of a replica has them; nothing is asked for a value. */
export function metricsPage(): string {
  const metrics = new Metrics();
  metrics.keep({} as Books);
  const all = declaredIn(metrics);
  const own = all.filter(({ name }) => !OF_NODE.test(name));
  return paragraphs(
    '# Metrics',
    'At `/metrics` of [METRICS_LISTEN](settings.md#metrics_listen). What is read from the database is at most 2 seconds old, the same on every replica, and left out while the database does not answer.',
    tableOf(own),
    '## Of the process',
    'What `prom-client` tells by itself.',
    tableOf(all.filter(({ name }) => OF_NODE.test(name))),
    '## Of the canary',
    'At `/metrics` of its `--metrics-port`; see [its command](commands.md#backupctl-canary).',
    tableOf(declaredIn(new CanaryMetrics([]))),
  );
}

function declaredIn({ registry }: Pick<Metrics, 'registry'>): Declared[] {
  return registry.getMetricsAsArray() as unknown as Declared[];
}

const OF_NODE = /^(process|nodejs)_/;

function tableOf(metrics: Declared[]): string {
  return table(
    ['name', 'type', 'labels', ''],
    metrics.map(({ name, labelNames = [], help, constructor: kind }) => [
      `<a id="${name}"></a>\`${name}\``,
      kind.name.toLowerCase(),
      labelNames.map(label => `\`${label}\``).join(', '),
      help,
    ]),
  );
}
