/** The shortest names of backups, 8 digits or more, that no two of them share. A name that was given once stays. */
export class ShortIds {
  readonly #names = new Map<string, string>();
  readonly #taken = new Set<string>();

  of(backupId: string): string {
    const known = this.#names.get(backupId);
    if (known) return known;
    let length = SHORTEST;
    while (length < backupId.length && this.#taken.has(backupId.slice(0, length))) length++;
    const name = backupId.slice(0, length);
    this.#names.set(backupId, name);
    this.#taken.add(name);
    return name;
  }
}

const SHORTEST = 8;
