import { readFile } from 'node:fs/promises';
import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey } from 'jose';
import { ErrorReason, retryAfter, StatusError } from '../errors.ts';
import { periodic } from '../periodic.ts';

/** The keys that tokens are signed with, as they are by now. */
export type Keys = AsyncDisposable & { readonly find: JWTVerifyGetKey };

/**
 * Keys of a JWKS, in a file or at a URL, which is read again at every interval and for a key that is not known. While it cannot be read the keys
 * that are known serve on for an hour; after that, and for an unknown key at once, nobody knows: KEYS_UNAVAILABLE. Throws when a file cannot be read
 * at the start.
 */
export async function openKeys(
  source: string,
  { refreshMs, warn }: { refreshMs: number; warn(message: string): void },
): Promise<Keys> {
  const url = URL.canParse(source) ? new URL(source) : undefined;
  const remote = createRemoteJWKSet(url ?? new URL('file:///'), {
    cacheMaxAge: Math.max(KEPT_MS, 2 * refreshMs),
    // Whoever makes up names of keys has it read no more often than that.
    cooldownDuration: Math.min(COOLDOWN_MS, refreshMs),
    timeoutDuration: TIMEOUT_MS,
    ...(!url && { [customFetch]: async () => new Response(await readFile(source)) }),
  });
  if (!url) await remote.reload();
  let broken = false;
  const reading = periodic(refreshMs, async () => {
    const fault = await remote.reload().then(
      () => undefined,
      (error: unknown) => error,
    );
    if (fault && !broken) warn(`the keys of ${source} cannot be read: ${messageOf(fault)}`);
    if (!fault && broken) warn(`the keys of ${source} can be read again`);
    broken = fault !== undefined;
  });
  const find: JWTVerifyGetKey = (header, token) =>
    remote(header, token).catch((error: unknown) => {
      if (TOKENS_FAULT.some(kind => error instanceof kind)) throw error;
      throw new StatusError(ErrorReason.KEYS_UNAVAILABLE, 'the keys to verify tokens with cannot be had', {
        details: [retryAfter(1000)],
        cause: error,
      });
    });
  return { find, [Symbol.asyncDispose]: () => reading[Symbol.asyncDispose]() };
}

/** What is no fault of the keys. */
const TOKENS_FAULT = [errors.JWKSNoMatchingKey, errors.JWKSMultipleMatchingKeys, errors.JOSENotSupported];

/** Milliseconds. */
const KEPT_MS = 3_600_000;
const COOLDOWN_MS = 5_000;
const TIMEOUT_MS = 3_000;

/** What Node's `fetch` says is in the cause. */
function messageOf(fault: unknown): string {
  const { message, cause } = fault as Error;
  return cause instanceof Error ? `${message}: ${cause.message || (cause as NodeJS.ErrnoException).code}` : message;
}
