import type { ServerResponse } from 'node:http';
import type { JsonValue } from '@bufbuild/protobuf';
import { reasonName, type StatusError } from '../errors.ts';
import { Outlet } from '../grpc/write.ts';

/** One server-sent event. With a token a browser that loses the stream comes back behind this event. */
export type Told = { token: string; message: JsonValue };

/**
 * Sends what is told as server-sent events, each when the one before has gone out: a browser that does not read costs one event of memory, and after
 * `writeTimeoutMs` its connection. A refusal is an event, too, because a browser tells a page nothing of any other answer, and would not
 * come back after one.
 */
export async function sendEvents(
  response: ServerResponse,
  told: AsyncIterable<Told>,
  { signal, writeTimeoutMs }: { signal: AbortSignal; writeTimeoutMs: number },
): Promise<void> {
  using outlet = new Outlet(response, signal, writeTimeoutMs);
  // Not all at the same time when a replica has gone.
  const retryMs = Math.round(500 + 1000 * Math.random());
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  await outlet.write(Buffer.from(`retry: ${retryMs}\n\n`));
  try {
    for await (const { token, message } of told) {
      const id = token ? `id: ${token}\n` : '';
      if (await outlet.write(Buffer.from(`${id}data: ${JSON.stringify(message)}\n\n`))) continue;
      // What waits for it would keep the connection.
      response.destroy();
      return;
    }
  } catch (error) {
    if (signal.aborted) return;
    const { reason, message } = error as StatusError;
    await outlet.write(
      Buffer.from(`event: refused\ndata: ${JSON.stringify({ reason: reasonName(reason), message })}\n\n`),
    );
  }
  response.end();
}
