import type { Source, SourceRow, Table } from './source.ts';

/** Columns whose length a batch is bounded by, besides the number of its rows. */
const heavy: Partial<Record<Table, string>> = { backup_controllers: 'controller', backup_logs: 'message' };

/**
 * All rows of a table in the order of their ids, in batches of so many and of at most 16 MiB of text; a single row may be larger. So the memory
 * that an import takes does not depend on how much there is.
 */
export async function* batchesOf(
  source: Source,
  table: Table,
  columns: string,
  size: number,
): AsyncGenerator<SourceRow[]> {
  const column = heavy[table];
  for (let after = -1n; ; ) {
    const limit = column ? await fitting(source, table, column, after, size) : size;
    const rows = await source.rows(table, columns, after, limit);
    if (rows.length === 0) return;
    yield rows;
    after = BigInt(rows.at(-1)!['id']!);
  }
}

/** How many of the next rows are not too many. */
async function fitting(source: Source, table: Table, column: string, after: bigint, size: number): Promise<number> {
  const rows = await source.rows(table, `id, octet_length(${column}) as bytes`, after, size);
  let bytes = 0;
  let count = 0;
  while (count < rows.length) {
    bytes += Number(rows[count]!['bytes'] ?? 0);
    if (bytes > MOST_BYTES && count > 0) break;
    count++;
  }
  return Math.max(count, 1);
}

const MOST_BYTES = 16 * 1024 * 1024;

/** PostgreSQL's text has no NUL, and no halves of characters. */
export function clean(value: string | number | null): { text: string; cleaned: boolean } {
  const text = String(value ?? '');
  const cleaned = text.replaceAll('\0', '\ufffd').toWellFormed();
  return { text: cleaned, cleaned: cleaned !== text };
}
