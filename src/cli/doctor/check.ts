/** What was looked at, and how it is: well, could be better, has to be mended, or could not be looked at because of another one. */
export type Check = { name: string; state: 'ok' | 'warning' | 'bad' | 'skipped'; text: string; hint?: string };

export function ok(name: string, text: string): Check {
  return { name, state: 'ok', text };
}

export function warning(name: string, text: string, hint: string): Check {
  return { name, state: 'warning', text, hint };
}

export function bad(name: string, text: string, hint: string): Check {
  return { name, state: 'bad', text, hint };
}

export function skipped(name: string, text: string): Check {
  return { name, state: 'skipped', text };
}
