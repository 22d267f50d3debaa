import { bad, type Check, ok, warning } from './check.ts';
import type { Replica } from './examine.ts';

/** What only shows when several replicas are looked at. */
export function compare(replicas: Replica[]): Check[] {
  const described = replicas.flatMap(({ address, description }) => (description ? [{ address, description }] : []));
  if (described.length < 2) return [];
  const distinct = (of: (replica: (typeof described)[number]) => string) => [...new Set(described.map(of))];
  const versions = distinct(({ description }) => description.version);
  const ids = distinct(({ description }) => description.replicaId);
  const schemas = distinct(({ description: { schema } }) =>
    [...(schema?.applied ?? []), ...(schema?.unknown ?? [])].sort().join(),
  );
  return [
    ids.length < described.length
      ? warning(
          'replicas',
          `${described.length} addresses lead to ${ids.length}`,
          'an address is there twice, or stands for a load balancer',
        )
      : ok('replicas', `${ids.length} are there`),
    versions.length > 1
      ? warning(
          'versions',
          versions.join(', '),
          'one release apart is fine during an upgrade: bring the others up to date',
        )
      : ok('versions', `all are ${versions[0]}`),
    ...(schemas.length > 1
      ? [
          bad(
            'databases',
            'they do not see the same migrations',
            'are they on the same database? compare their DATABASE_URL',
          ),
        ]
      : []),
  ];
}
