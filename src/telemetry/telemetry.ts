import type { Pool } from 'pg';
import type { Probe } from '../batch.ts';
import type { Around } from '../grpc/bind.ts';
import type { CallReport } from '../grpc/call.ts';
import type { Books } from './books.ts';
import type { TraceOptions } from './traces.ts';

export type TelemetryOptions = {
  /** Host and port for /metrics and /healthz; undefined counts nothing. */
  metrics: string | undefined;
  /** Where spans go, and how many; undefined makes none. */
  traces: TraceOptions | undefined;
};

/** What is seen of a replica from outside. What is not switched on is not even loaded, and its parts are undefined. */
export type Telemetry = AsyncDisposable & {
  readonly probe: Probe | undefined;
  readonly around: Around | undefined;
  /** Takes note of a call that has ended; returns what is to stand in its line of the log. */
  called(call: CallReport): object | undefined;
  /** Spans for the statements of a pool. */
  follow(pool: Pool): void;
  /** Answers GET /metrics and /healthz from now on; undefined when nothing is counted. */
  serve(books: Books): Promise<(AsyncDisposable & { port: number }) | undefined>;
};

export async function openTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const metrics = options.metrics === undefined ? undefined : new (await import('./metrics.ts')).Metrics();
  const traces = options.traces && (await import('./traces.ts')).openTraces(options.traces);
  return {
    probe: joined(metrics?.probe, traces?.probe),
    around: traces?.around,
    called(call) {
      metrics?.called(call);
      return traces?.called(call);
    },
    follow: pool => traces?.follow(pool),
    async serve(books) {
      if (!metrics) return undefined;
      metrics.keep(books);
      return (await import('./endpoint.ts')).serveMetrics(metrics.registry, options.metrics!, books);
    },
    async [Symbol.asyncDispose]() {
      await traces?.[Symbol.asyncDispose]();
    },
  };
}

/** Both, the second one within the first. */
function joined(outer: Probe | undefined, inner: Probe | undefined): Probe | undefined {
  if (!outer || !inner) return outer ?? inner;
  return {
    asker: inner.asker,
    around: (batch, askers, run) => outer.around(batch, askers, () => inner.around(batch, askers, run)),
  };
}
