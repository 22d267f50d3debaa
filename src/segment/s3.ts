import { createHash } from 'node:crypto';
import { AwsClient } from 'aws4fetch';
import type { Credentials, Location } from './location.ts';
import type { Store } from './store.ts';

/** Objects of a bucket, by any endpoint that speaks S3; the bucket is named in the path, which all of them take. */
export function s3Store(
  { endpoint, region, bucket, prefix }: Extract<Location, { kind: 's3' }>,
  { accessKeyId, secretAccessKey, sessionToken }: Credentials,
): Store {
  const client = new AwsClient({
    accessKeyId,
    secretAccessKey,
    ...(sessionToken && { sessionToken }),
    service: 's3',
    region,
    retries: 2,
  });
  const base = `${endpoint}/${bucket}/${prefix && `${prefix}/`}`;
  const send = (method: string, key: string, signal: AbortSignal, body: Uint8Array = NONE) =>
    client.fetch(base + key, {
      method,
      // What is sent is signed, too: what arrives is what was meant.
      headers: { 'x-amz-content-sha256': createHash('sha256').update(body).digest('hex') },
      ...(method === 'PUT' && { body: new Uint8Array(body) }),
      signal,
    });
  return {
    place: base,

    async put(key, object, signal) {
      await taken(await send('PUT', key, signal, object));
    },

    async get(key, signal) {
      const response = await send('GET', key, signal);
      if (response.ok) return Buffer.from(await response.arrayBuffer());
      const problem = await problemOf(response);
      // Not NoSuchBucket, by which nothing is lost.
      if (response.status === 404 && /NoSuchKey/.test(problem)) return undefined;
      throw new Error(problem);
    },

    async remove(key, signal) {
      await taken(await send('DELETE', key, signal));
    },
  };
}

const NONE = new Uint8Array();

async function taken(response: Response): Promise<void> {
  if (!response.ok) throw new Error(await problemOf(response));
  await response.body?.cancel();
}

/** The status and the code of S3's XML. */
async function problemOf(response: Response): Promise<string> {
  const [, code = ''] = (await response.text()).match(/<Code>(\w+)<\/Code>/) ?? [];
  return `${response.status} ${code}`;
}
