import { type ChannelCredentials, credentials, Metadata } from '@grpc/grpc-js';
import { Authority, Files } from '../test/support/authority.ts';
import { Issuer, tokenSettings } from '../test/support/issuer.ts';
import { alternate, compare, type Figure } from './figure.ts';
import { fillControllers, getAll } from './get.ts';
import { connect, createDatabase, startService } from './service.ts';

/** What it costs to ask who calls: GetController over TLS by 16 callers, with a token and with a certificate, beside nobody being asked. */
export async function identities(serverUrl: string, rounds: number): Promise<Figure[]> {
  const url = await createDatabase(serverUrl, 'bench_identity');
  using files = new Files();
  const [authority, issuer] = await Promise.all([Authority.create(), Issuer.create()]);
  const pair = await authority.issue();
  const caFile = await files.put('ca.crt', authority.pem);
  const tls = { TLS_CERT: await files.put('tls.crt', pair.cert), TLS_KEY: await files.put('tls.key', pair.key) };
  const [ca, cert, key] = [authority.pem, pair.cert, pair.key].map(pem => Buffer.from(pem));
  const over = credentials.createSsl(ca!);
  const bearer = new Metadata();
  bearer.set('authorization', `Bearer ${await issuer.token('read', { lifetime: 3600 })}`);
  const withToken = credentials.createFromMetadataGenerator((_, done) => done(null, bearer));
  await using opening = new AsyncDisposableStack();
  const contestant = async (name: string, settings: Record<string, string>, how: ChannelCredentials) => {
    const service = opening.use(await startService(url, settings));
    const channel = connect(service.address.replace('127.0.0.1', 'localhost'), how);
    opening.defer(() => channel.close());
    return { name, run: () => getAll(channel, backupIds) };
  };
  const plainly = await contestant('get without TLS', {}, credentials.createInsecure());
  const backupIds = await fillControllers(url);
  const keys = tokenSettings(await files.put('keys.json', issuer.jwks));
  const rates = await alternate(
    [
      await contestant('get over TLS', tls, over),
      await contestant('get with a token', { ...tls, ...keys }, credentials.combineChannelCredentials(over, withToken)),
      await contestant(
        'get with a certificate',
        { ...tls, TLS_CLIENT_CA: caFile },
        credentials.createSsl(ca!, key!, cert!),
      ),
      plainly,
    ],
    rounds,
  );
  const [plain, known, certified] = [...rates.values()];
  return [compare('identity token', known!, plain!, 0.8), compare('identity certificate', certified!, plain!, 0.8)];
}
