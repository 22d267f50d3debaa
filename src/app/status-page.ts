import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { ControllerService } from '../gen/backup/v1/controller_pb.ts';
import { CourseService } from '../gen/backup/v1/course_pb.ts';
import { LogService } from '../gen/backup/v1/log_pb.ts';
import type { RunningServer } from '../grpc/server.ts';
import { isLoopback } from '../identity/exposure.ts';

/** The status page, loaded where it is wanted only. Where nobody has asked for it, another service may have its port. */
export async function openStatusPage(
  config: Config,
  server: RunningServer,
  log: Logger,
): Promise<(AsyncDisposable & { address: string }) | undefined> {
  const { PAGE_LISTEN: wanted, DATABASE_URL, TOKEN_JWKS, TLS_CLIENT_CA, INSECURE, WRITE_TIMEOUT } = config;
  const byItself = wanted === 'auto';
  // The page asks nobody who he is: where callers are asked, it is not there by itself.
  if (wanted === 'off' || (byItself && (DATABASE_URL || TOKEN_JWKS || TLS_CLIENT_CA))) return undefined;
  const address = byItself ? '127.0.0.1:50080' : wanted;
  const local = isLoopback(address);
  if (!local) log.warn(`everybody who reaches ${address} can read the status page, as INSECURE=${INSECURE} allows`);
  const { servePage } = await import('../page/page.ts');
  try {
    const page = await servePage({
      address,
      services: {
        controllers: server.local(ControllerService),
        courses: server.local(CourseService),
        logs: server.local(LogService),
      },
      allowsHost: host => !local || isLoopback(host),
      writeTimeoutMs: WRITE_TIMEOUT,
      fault: error => log.error({ err: error }, 'status page'),
    });
    return Object.assign(page, { address: address.replace(/\d+$/, String(page.port)) });
  } catch (error) {
    if (!byItself || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    log.warn(`there is no status page: ${address} is taken; PAGE_LISTEN gives it another address`);
    return undefined;
  }
}
