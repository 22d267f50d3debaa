import { type Client, credentials, Metadata } from '@grpc/grpc-js';
import { pino } from 'pino';
import { type Authority, Files, type Pair } from './authority.ts';
import { clients, connect, type Replica, startReplica } from './backend.ts';
import { createDatabase, type Database } from './database.ts';
import { type Issuer, tokenSettings } from './issuer.ts';

/** A replica that serves TLS, on a database of its own, and what it logs. */
export type Secured = AsyncDisposable & {
  readonly replica: Replica;
  readonly database: Database;
  readonly authority: Authority;
  readonly files: Files;
  /** The lines of its log so far. */
  lines(): Record<string, unknown>[];
  /** Clients of one more connection, which goes with the replica. */
  as(who: Who): Clients;
  /** The connection alone. */
  channel(who: Who): Client;
};

export type Clients = ReturnType<typeof clients>;

/** What a client proves, and whom it trusts instead of the replica's authority. */
export type Who = { token?: string | (() => string); pair?: Pair; trusts?: Authority };

export type Wishes = {
  /** What the replica serves; else one that its authority has just issued. */
  pair?: Pair;
  /** Every client needs a certificate of the same authority. */
  mutual?: boolean;
  /** Every call needs a token of this issuer, whose keys are in the file `keys.json`. */
  issuer?: Issuer;
  settings?: Record<string, string>;
};

export async function startSecured(
  authority: Authority,
  { pair, mutual = false, issuer, settings = {} }: Wishes = {},
): Promise<Secured> {
  await using starting = new AsyncDisposableStack();
  const files = starting.use(new Files());
  await files.put('authority.crt', authority.pem);
  const served = pair ?? (await authority.issue());
  const paths = {
    TLS_CERT: await files.put('tls.crt', served.cert),
    TLS_KEY: await files.put('tls.key', served.key),
    ...(mutual && { TLS_CLIENT_CA: await files.put('ca.crt', authority.pem) }),
    ...(issuer && tokenSettings(await files.put('keys.json', issuer.jwks))),
  };
  const database = starting.use(await createDatabase());
  const logged: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void logged.push(line) });
  const all = { TLS_RELOAD: '20ms', ...paths, ...settings };
  const replica = starting.use(await startReplica(database.url, all, log));
  const open = starting.move();
  const channel = (who: Who) => {
    // By name: TLS names no addresses to a server.
    const connected = connect(replica.address.replace('127.0.0.1', 'localhost'), credentialsOf(who, authority));
    open.defer(() => connected.close());
    return connected;
  };
  return {
    replica,
    database,
    authority,
    files,
    lines: () => logged.map(line => JSON.parse(line)),
    as: who => clients(channel(who)),
    channel,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** A file with a token of these scopes that lasts for 2 s, and is always a fresh one. */
export async function renewedToken(
  { files }: Secured,
  issuer: Issuer,
  scopes: string,
): Promise<Disposable & { path: string }> {
  const renew = async () => files.put('token', await issuer.token(scopes, { lifetime: 5 }));
  const path = await renew();
  const renewing = setInterval(renew, 300);
  return { path, [Symbol.dispose]: () => clearInterval(renewing) };
}

function credentialsOf({ token, pair, trusts }: Who, authority: Authority) {
  const [key, cert] = pair ? [Buffer.from(pair.key), Buffer.from(pair.cert)] : [null, null];
  const tls = credentials.createSsl(Buffer.from((trusts ?? authority).pem), key, cert);
  if (token === undefined) return tls;
  const bearer = credentials.createFromMetadataGenerator((_, done) => {
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${typeof token === 'function' ? token() : token}`);
    done(null, metadata);
  });
  return credentials.combineChannelCredentials(tls, bearer);
}
