import type { Pool } from 'pg';

/**
 * Runs a query, without parameters, and hands over its rows as COPY writes them: a count of columns (16 bits), and of each column its length (32
 * bits, -1 for null) and its binary form. A row is there while `take` runs, and overwritten behind it.
 *
 * For pages of many rows: 0.5 us of this process for a row of six columns, where pg's own rows take 1.1 as arrays of texts; and PostgreSQL need
 * not write numbers as texts.
 */
export async function copyRows(pool: Pool, query: string, take: (row: Buffer) => void): Promise<void> {
  const client = await pool.connect();
  const copy = new CopyOut(`copy (${query}) to stdout (format binary)`, take);
  client.query(copy);
  // As the pool does it with its own queries: after an error nobody knows what the connection is doing.
  await copy.done.then(
    () => client.release(),
    (error: Error) => {
      client.release(error);
      throw error;
    },
  );
}

/** What pg's client runs as it runs its own queries. */
class CopyOut {
  readonly #text: string;
  readonly #take: (row: Buffer) => void;
  readonly #over = Promise.withResolvers<void>();
  #error: { error: unknown } | undefined;
  #begun = false;
  /** Set by the client, which stops its clock with it. */
  callback: ((error?: unknown) => void) | undefined;

  constructor(text: string, take: (row: Buffer) => void) {
    this.#text = text;
    this.#take = take;
  }

  get done(): Promise<void> {
    return this.#over.promise;
  }

  submit(connection: { query(text: string): void }): void {
    connection.query(this.#text);
  }

  handleCopyData({ chunk }: { chunk: Buffer }): void {
    const row = this.#begun ? chunk : chunk.subarray(HEADER);
    this.#begun = true;
    // The last one has no columns but the count -1; and nothing more is taken once something was wrong.
    if (this.#error || row.readInt16BE(0) < 0) return;
    try {
      this.#take(row);
    } catch (error) {
      this.#error = { error };
    }
  }

  handleCommandComplete(): void {}

  handleReadyForQuery(): void {
    this.callback?.();
    if (this.#error) this.#over.reject(this.#error.error);
    else this.#over.resolve();
  }

  handleError(error: unknown): void {
    this.callback?.(error);
    this.#over.reject(error);
  }
}

/** A signature, flags, and the length of an extension that there is not; the first row comes with it. */
const HEADER = 19;
