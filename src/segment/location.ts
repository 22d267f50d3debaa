import { isAbsolute } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where objects are kept. */
export type Location =
  | { kind: 'folder'; path: string }
  | { kind: 's3'; endpoint: string; region: string; bucket: string; prefix: string };

/** Of the environment variables that S3 clients share. */
export type Credentials = { accessKeyId: string; secretAccessKey: string; sessionToken: string | undefined };

/** Reads `s3://bucket/prefix?endpoint=https://...&region=...` or `file:///folder`; throws what is wrong with it. */
export function parseLocation(text: string): Location {
  if (!URL.canParse(text)) throw new Error(FORMS);
  const url = new URL(text);
  if (url.protocol === 'file:' && !url.host && !url.search) {
    const path = fileURLToPath(url);
    if (!isAbsolute(path) || path === '/') throw new Error('must be a folder of its own');
    return { kind: 'folder', path: path.replace(/\/+$/, '') };
  }
  if (url.protocol !== 's3:' || !/^[a-z0-9][a-z0-9.-]+$/.test(url.host) || url.username) throw new Error(FORMS);
  const unknown = [...url.searchParams.keys()].filter(name => name !== 'endpoint' && name !== 'region');
  if (unknown.length > 0) throw new Error(`knows no ${unknown[0]}: only endpoint and region`);
  const region = url.searchParams.get('region') ?? 'us-east-1';
  const endpoint = url.searchParams.get('endpoint') ?? `https://s3.${region}.amazonaws.com`;
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol)) {
    throw new Error('endpoint must be an http:// or https:// URL');
  }
  const prefix = url.pathname.replace(/^\/+|\/+$/g, '');
  if (prefix.length > LONGEST_PREFIX) throw new Error(`the prefix may have ${LONGEST_PREFIX} characters`);
  return { kind: 's3', endpoint: endpoint.replace(/\/+$/, ''), region, bucket: url.host, prefix };
}

const FORMS = 'must be s3://bucket/prefix?endpoint=...&region=... or file:///folder';

/** A key of S3 has 1024 bytes. */
const LONGEST_PREFIX = 500;
