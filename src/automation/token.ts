import { randomUUID } from 'node:crypto';

/**
 * Lease tokens of course runs, and only those, are UUIDs of version 8: so whoever ends a lease knows without a read whether a course has to
 * move with it. A token that lies about it belongs to no lease.
 */
export function courseToken(): string {
  const token = randomUUID();
  return `${token.slice(0, VERSION)}8${token.slice(VERSION + 1)}`;
}

export function isCourseToken(token: string): boolean {
  return token[VERSION] === '8';
}

const VERSION = 14;
