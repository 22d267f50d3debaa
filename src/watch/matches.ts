import type { FilterQuery } from '@mikro-orm/core';
import type { Controller } from '../controller/entity.ts';
import type { Shown } from '../controller/row.ts';

/**
 * Whether a row meets conditions that the ORM would turn into SQL, so that one row that was read can be held against any number of filters.
 * It knows what conditions of filters are made of and throws at anything else: to guess would be to tell something else than a list does.
 */
export function matches(conditions: FilterQuery<Controller>, row: Shown): boolean {
  return Object.entries(conditions).every(([property, wanted]) => {
    if (!Object.hasOwn(row, property)) throw new Error(`a watch cannot tell whether ${property} is as asked`);
    return holds(row[property as keyof Shown], wanted);
  });
}

function holds(value: unknown, wanted: unknown): boolean {
  if (typeof wanted !== 'object' || wanted === null) return value === wanted;
  return Object.entries(wanted).every(([operator, operand]) => {
    const check = operators[operator];
    if (!check) throw new Error(`a watch does not know ${operator}`);
    return check(value, operand);
  });
}

const operators: Record<string, (value: unknown, operand: unknown) => boolean> = {
  $in: (value, operand) => (operand as unknown[]).includes(value),
  $gte: (value, operand) => (value as bigint) >= (operand as bigint),
  $lt: (value, operand) => (value as bigint) < (operand as bigint),
};
