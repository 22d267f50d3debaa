import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import S3rver from '@20minutes/s3rver';

/** A server of S3, over HTTP, that checks signatures. */
export type S3 = AsyncDisposable & {
  readonly endpoint: string;
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Of all objects that are there. */
  keys(): string[];
};

/** The one account that the server knows. */
export const account = { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' };

export async function startS3(bucket: string): Promise<S3> {
  const directory = mkdtempSync(join(tmpdir(), 'backup-management-s3-'));
  let port = 0;
  let server: S3rver | undefined;
  const start = async () => {
    const configureBuckets = [{ name: bucket, configs: [] }];
    server = new S3rver({ address: '127.0.0.1', port, silent: true, directory, vhostBuckets: false, configureBuckets });
    ({ port } = await server.run());
  };
  const stop = async () => {
    await server?.close();
    server = undefined;
  };
  await start();
  return {
    endpoint: `http://127.0.0.1:${port}`,
    start,
    stop,
    keys() {
      const files = readdirSync(join(directory, bucket), { recursive: true, encoding: 'utf8' });
      return files.filter(file => file.endsWith(OBJECT)).map(file => file.slice(0, -OBJECT.length));
    },
    async [Symbol.asyncDispose]() {
      await stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** How the server names the file of an object. */
const OBJECT = '._S3rver_object';
