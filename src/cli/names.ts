import type { DescEnum } from '@bufbuild/protobuf';
import { InvalidArgumentError } from 'commander';

/** The name of an enum's number without its prefix, such as `FINISHED_OK`; the number itself when it is newer than this program. */
export function nameOf(schema: DescEnum, number: number): string {
  return schema.value[number]?.localName ?? String(number);
}

/** Reads a name of an enum, in any case and with `-` for `_`; none of `but`. */
export function nameIn(schema: DescEnum, but: number[] = []) {
  const names = namesBy(schema, but);
  const parse = (given: string): number => names.get(wordOf(given)) ?? refuse(names);
  return Object.assign(parse, { choices: [...names.keys()] });
}

/** Reads one or more of them with commas between them, or from several options; numbers, too, where plug-ins have their own. */
export function namesIn(schema: DescEnum, { numbers = false } = {}) {
  const names = namesBy(schema);
  const numberOf = (given: string): number => {
    if (numbers && /^[1-9]\d{0,4}$/.test(given)) return Number(given);
    return names.get(wordOf(given)) ?? refuse(names, numbers);
  };
  const parse = (given: string, before: number[] = []): number[] => [...before, ...given.split(',').map(numberOf)];
  return Object.assign(parse, { choices: [...names.keys()] });
}

function namesBy(schema: DescEnum, but: number[] = []): Map<string, number> {
  const named = schema.values.filter(({ number }) => number > 0 && !but.includes(number));
  return new Map(named.map(({ localName, number }) => [wordOf(localName), number]));
}

function wordOf(name: string): string {
  return name.trim().toLowerCase().replaceAll('_', '-');
}

function refuse(names: Map<string, number>, numbers = false): never {
  throw new InvalidArgumentError(`must be one of ${[...names.keys()].join(', ')}${numbers ? ', or a number' : ''}`);
}
