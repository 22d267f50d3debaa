/** A metric as Prometheus reads it: by name and labels. */
export class Scrape {
  readonly #samples: { name: string; labels: Record<string, string>; value: number }[] = [];
  /** Names as they are declared: of a histogram one. */
  readonly declared: string[];

  constructor(text: string) {
    this.declared = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!);
    for (const [, name, labels = '', value] of text.matchAll(/^([a-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/gim)) {
      const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, text]) => [key!, text!]);
      this.#samples.push({ name: name!, labels: Object.fromEntries(pairs), value: Number(value) });
    }
  }

  /** The sum of all samples of this name that have these labels; undefined when there is none. */
  value(name: string, labels: Record<string, string> = {}): number | undefined {
    const wanted = Object.entries(labels);
    const found = this.#samples.filter(one => one.name === name && wanted.every(([k, v]) => one.labels[k] === v));
    return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0);
  }

  get samples(): readonly { name: string; labels: Record<string, string>; value: number }[] {
    return this.#samples;
  }

  /** The labels of all samples of this name. */
  labelsOf(name: string): string[] {
    return this.#samples.filter(one => one.name === name).flatMap(({ labels }) => Object.keys(labels));
  }

  /** Names of samples: of a histogram three. */
  get names(): Set<string> {
    return new Set(this.#samples.map(({ name }) => name));
  }
}

export async function scrape(port: number | undefined): Promise<Scrape> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  if (response.status !== 200) throw new Error(`/metrics says ${response.status}`);
  return new Scrape(await response.text());
}
