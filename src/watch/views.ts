import { View, type Wish } from './view.ts';

/** The views of a replica: one for each wish, found by the controllers that they may hold. */
export class Views {
  readonly #byKey = new Map<string, View>();
  readonly #byId = new Map<string, Set<View>>();
  readonly #byConditions = new Set<View>();

  get all(): View[] {
    return [...this.#byKey.values()];
  }

  /** Those that a controller may belong to. */
  about(backupId: string): View[] {
    return [...(this.#byId.get(backupId) ?? []), ...this.#byConditions];
  }

  /** Whether there is any that a controller may belong to. */
  careFor(backupId: string): boolean {
    return this.#byConditions.size > 0 || this.#byId.has(backupId);
  }

  /** Those that wish for this backup id by name. */
  naming(backupId: string): Iterable<View> {
    return this.#byId.get(backupId) ?? [];
  }

  /** The view of this wish, a new one if there is none. */
  of(wish: Wish): View {
    const known = this.#byKey.get(wish.key);
    if (known) return known;
    const view = new View(wish);
    this.#byKey.set(wish.key, view);
    if (!wish.ids) this.#byConditions.add(view);
    else for (const id of wish.ids) this.#byId.set(id, (this.#byId.get(id) ?? new Set()).add(view));
    return view;
  }

  /** Gives a view up; doing so twice does nothing more. */
  remove(view: View): void {
    const { wish } = view;
    // One that has failed may have been followed by another.
    if (this.#byKey.get(wish.key) === view) this.#byKey.delete(wish.key);
    this.#byConditions.delete(view);
    for (const id of wish.ids ?? []) this.#forget(id, view);
  }

  #forget(backupId: string, view: View): void {
    const views = this.#byId.get(backupId);
    views?.delete(view);
    if (views?.size === 0) this.#byId.delete(backupId);
  }
}
