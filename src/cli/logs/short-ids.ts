/** The shortest names of backups, 8 digits or more, that no two of them share. A name that was given stays, unless there are very many. */
export class ShortIds {
  readonly #names = new Map<string, string>();
  readonly #taken = new Set<string>();

  of(backupId: string): string {
    const known = this.#names.get(backupId);
    if (known) return known;
    if (this.#names.size === MANY_IDS) {
      this.#names.clear();
      this.#taken.clear();
    }
    let length = SHORTEST;
    while (length < backupId.length && this.#taken.has(backupId.slice(0, length))) length++;
    const name = backupId.slice(0, length);
    this.#names.set(backupId, name);
    this.#taken.add(name);
    return name;
  }
}

const SHORTEST = 8;

/** A tail of everything may go on for a year. */
export const MANY_IDS = 10_000;
