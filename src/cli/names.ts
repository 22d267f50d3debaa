import type { DescEnum } from '@bufbuild/protobuf';
import { InvalidArgumentError } from 'commander';

/** The name of an enum's number without its prefix, such as `FINISHED_OK`; the number itself when it is newer than this program. */
export function nameOf(schema: DescEnum, number: number): string {
  return schema.value[number]?.localName ?? String(number);
}

/** Reads names of an enum, with commas between them, in any case, `-` for `_`; numbers too where plug-ins have their own. */
export function namesOf(schema: DescEnum, { numbers = false } = {}) {
  const names = new Map(schema.values.filter(({ number }) => number > 0).map(value => [value.localName, value.number]));
  return (given: string, before: number[] = []): number[] => [
    ...before,
    ...given.split(',').map(one => {
      const number = names.get(one.trim().toUpperCase().replaceAll('-', '_'));
      if (number !== undefined) return number;
      if (numbers && /^\d{1,5}$/.test(one.trim())) return Number(one);
      const all = [...names.keys()].map(name => name.toLowerCase()).join(', ');
      throw new InvalidArgumentError(`must be ${all}${numbers ? ', or a number' : ''}`);
    }),
  ];
}
