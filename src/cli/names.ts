import type { DescEnum } from '@bufbuild/protobuf';
import { InvalidArgumentError } from 'commander';

/** The name of an enum's number without its prefix, such as `FINISHED_OK`; the number itself when it is newer than this program. */
export function nameOf(schema: DescEnum, number: number): string {
  return schema.value[number]?.localName ?? String(number);
}

/** Reads a name of an enum, in any case and with `-` for `_`. */
export function nameIn(schema: DescEnum): (given: string) => number {
  return given => numberOf(schema, given) ?? refuse(schema);
}

/** Reads one or more of them with commas between them, or from several options; numbers, too, where plug-ins have their own. */
export function namesIn(schema: DescEnum, { numbers = false } = {}) {
  return (given: string, before: number[] = []): number[] => [
    ...before,
    ...given.split(',').map(name => {
      if (numbers && /^[1-9]\d{0,4}$/.test(name)) return Number(name);
      return numberOf(schema, name) ?? refuse(schema, numbers);
    }),
  ];
}

function numberOf(schema: DescEnum, given: string): number | undefined {
  const name = given.trim().toUpperCase().replaceAll('-', '_');
  return named(schema).find(value => value.localName === name)?.number;
}

function refuse(schema: DescEnum, numbers = false): never {
  const names = named(schema).map(({ localName }) => localName.toLowerCase());
  throw new InvalidArgumentError(`must be one of ${names.join(', ')}${numbers ? ', or a number' : ''}`);
}

function named(schema: DescEnum) {
  return schema.values.filter(({ number }) => number > 0);
}
