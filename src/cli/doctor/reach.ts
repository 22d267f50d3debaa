import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { Settings } from '../settings.ts';
import { printable } from '../terminal/text.ts';
import { durationText } from '../terminal/times.ts';
import { bad, type Check, ok, warning } from './check.ts';

/** Whether something listens there, and shows a certificate that counts if it is to. */
export async function reach(settings: Settings, address: string): Promise<Check[]> {
  const [, host = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(address) ?? [];
  const began = performance.now();
  const fault = await listening(host, Number(port));
  if (fault) return [bad('connection', fault.text, fault.hint)];
  const there = ok('connection', `something listens, after ${durationText(Math.max(1, performance.now() - began))}`);
  return [there, isSecure(settings) ? await certificate(settings, host, Number(port)) : withoutTls(host)];
}

function listening(host: string, port: number): Promise<{ text: string; hint: string } | undefined> {
  return new Promise(resolve => {
    const socket = connect({ host, port, timeout: PATIENCE_MS });
    const settle = (fault?: { text: string; hint: string }) => {
      socket.destroy();
      resolve(fault);
    };
    socket.on('connect', () => settle());
    socket.on('timeout', () =>
      settle({ text: 'nothing answers', hint: 'a firewall, or the wrong address? see --address' }),
    );
    socket.on('error', ({ message, code }: NodeJS.ErrnoException) =>
      settle({ text: message || code || 'no connection', hint: HINTS[code ?? ''] ?? 'see --address' }),
    );
  });
}

const PATIENCE_MS = 5000;

const HINTS: Record<string, string> = {
  ECONNREFUSED: 'nothing listens there: does the service run, and is LISTEN this address? see --address',
  ENOTFOUND: 'nobody knows this name: see --address',
  EAI_AGAIN: 'names cannot be resolved here: see --address, and the DNS of this machine',
};

function isSecure({ tls, tlsCa, tlsCert, tlsKey, token, tokenFile }: Settings): boolean {
  return Boolean(tls || tlsCa || tlsCert || tlsKey || token || tokenFile);
}

function withoutTls(host: string): Check {
  if (/^(127\.|localhost$|::1$)/.test(host)) return ok('TLS', 'none, on this machine');
  return warning(
    'TLS',
    'none: everybody on the way can read along',
    'set TLS_CERT and TLS_KEY for the service, and --tls-ca here',
  );
}

function certificate({ tlsCa, tlsCert, tlsKey }: Settings, host: string, port: number): Promise<Check> {
  const read = (path: string | undefined) => (path ? readFileSync(path) : undefined);
  return new Promise(resolve => {
    const socket: TLSSocket = connectTls({
      host,
      port,
      servername: /^[\d.]+$|:/.test(host) ? '' : host,
      ALPNProtocols: ['h2'],
      ca: read(tlsCa),
      cert: read(tlsCert),
      key: read(tlsKey),
      timeout: PATIENCE_MS,
    });
    const settle = (check: Check) => {
      socket.destroy();
      resolve(check);
    };
    socket.on('secureConnect', () => settle(judge(socket)));
    socket.on('timeout', () =>
      settle(bad('TLS', 'no answer to the handshake', 'does the service have TLS? see TLS_CERT')),
    );
    socket.on('error', ({ message, code, reason }: NodeJS.ErrnoException & { reason?: string }) =>
      settle(
        bad(
          'TLS',
          // OpenSSL's own message names its source files.
          printable(reason ?? message),
          /ERR_TLS_CERT|CERT|SIGNED|ISSUER/i.test(code ?? '') ? CERTIFICATE_HINT : HANDSHAKE_HINT,
        ),
      ),
    );
  });
}

const CERTIFICATE_HINT =
  'see --tls-ca (whose signature counts), and that the address is a name in the certificate of the service';
const HANDSHAKE_HINT =
  'does the service have TLS (TLS_CERT), and does it want a certificate (--tls-cert and --tls-key)?';

function judge(socket: TLSSocket): Check {
  const { valid_to: validTo } = socket.getPeerCertificate();
  const leftMs = Date.parse(validTo) - Date.now();
  const text = `${socket.getProtocol()}, the certificate counts for ${durationText(Math.max(0, leftMs))}`;
  if (leftMs > SOON_MS) return ok('TLS', text);
  return warning('TLS', text, 'renew it: the service takes a new file of TLS_CERT without a restart');
}

const SOON_MS = 14 * 86_400_000;
