import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type { Metadata } from '@grpc/grpc-js';
import { ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, type Tracer, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { Pool } from 'pg';
import type { Probe } from '../batch.ts';
import type { Around } from '../grpc/bind.ts';
import type { CallReport } from '../grpc/call.ts';
import { sampler } from './sampler.ts';
import { followStatements } from './statements.ts';

export type TraceOptions = {
  /** URL of the traces of an OTLP/HTTP receiver. */
  endpoint: string;
  /** Share of the calls without a parent that are recorded, 0 to 1. */
  ratio: number;
};

export type Traces = AsyncDisposable & {
  readonly probe: Probe;
  readonly around: Around;
  /** Ends the span of the call; returns what the log says of it. */
  called(call: CallReport): object | undefined;
  follow(pool: Pool): void;
};

/**
 * Spans of calls, batches and statements, named by the semantic conventions.
 *
 * A statement finds the span of its call by AsyncLocalStorage: every function on the way would have to hand it on otherwise, MikroORM's too. Node 24
 * keeps it without hooks: 0.35 µs for a call. With the span that chance leaves out it is 1.3 µs, of some 100 that a call takes.
 */
export function openTraces({ endpoint, ratio }: TraceOptions): Traces {
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': 'backup-management',
      'service.instance.id': crypto.randomUUID(),
    }),
    sampler: sampler(ratio),
    spanProcessors: [
      new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url: endpoint, timeoutMillis: EXPORT_MS }) }),
    ],
  });
  const tracer = provider.getTracer('backup-management');
  const current: Current = new AsyncLocalStorage();
  return {
    probe: batches(tracer, current),
    async around(method, metadata, run) {
      const parent = PROPAGATOR.extract(ROOT_CONTEXT, metadata, HEADERS);
      const attributes = { 'rpc.system.name': 'grpc', 'rpc.method': `${method.parent.typeName}/${method.name}` };
      const span = tracer.startSpan(attributes['rpc.method'], { kind: SpanKind.SERVER, attributes }, parent);
      await current.run(span, run);
      span.end();
    },
    called({ code, reason, sent, requestId, error }) {
      const span = current.getStore();
      if (!span) return undefined;
      if (span.isRecording()) {
        span.setAttributes({ 'rpc.status_code': code, 'backup.request_id': requestId });
        if (sent !== undefined) span.setAttribute('backup.messages_sent', sent);
        if (reason) span.setAttribute('error.type', reason);
        // What a caller did wrong is no fault of the server's.
        if (SERVER_FAULTS.has(code)) span.setStatus({ code: SpanStatusCode.ERROR });
        if (error instanceof Error) span.recordException(error);
      }
      const { traceId, spanId } = span.spanContext();
      return { trace_id: traceId, span_id: spanId };
    },
    follow(pool) {
      followStatements(pool, summary => {
        const span = recorded(current);
        if (!span) return undefined;
        const attributes = { 'db.system.name': 'postgresql', 'db.query.summary': summary };
        return tracer.startSpan(summary, { kind: SpanKind.CLIENT, attributes }, under(span));
      });
    },
    async [Symbol.asyncDispose]() {
      // A receiver that is away must not keep the replica.
      await Promise.race([provider.shutdown(), delay(EXPORT_MS, undefined, { ref: false })]).catch(() => {});
    },
  };
}

type Current = AsyncLocalStorage<Span | undefined>;

/** The span of whoever runs now, if it is recorded. */
function recorded(current: Current): Span | undefined {
  const span = current.getStore();
  return span?.isRecording() ? span : undefined;
}

/** A call that is alone runs its own statement. What several share is a trace of its own; it and their spans point to each other. */
function batches(tracer: Tracer, current: Current): Probe {
  return {
    asker: () => recorded(current),
    async around(batch, askers, run) {
      const spans = askers.filter(asker => asker !== undefined) as Span[];
      if (spans.length === 0 || askers.length === 1) return current.run(spans[0], run);
      const links = spans.map(span => ({ context: span.spanContext() }));
      const attributes = { 'backup.batch.calls': askers.length };
      const span = tracer.startSpan(`${batch} together`, { links, attributes }, ROOT_CONTEXT);
      for (const asker of spans) asker.addLink({ context: span.spanContext() });
      try {
        return await current.run(span, run);
      } catch (error) {
        span.setStatus({ code: SpanStatusCode.ERROR });
        throw error;
      } finally {
        span.end();
      }
    },
  };
}

const under = (span: Span) => trace.setSpan(ROOT_CONTEXT, span);

const PROPAGATOR = new W3CTraceContextPropagator();

const HEADERS = {
  get: (metadata: Metadata, name: string) => metadata.get(name).map(String),
  keys: (metadata: Metadata) => Object.keys(metadata.getMap()),
};

/** Of the semantic conventions for gRPC: which codes are errors of a server. */
const SERVER_FAULTS = new Set([
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
]);

/** What one export may take, and the last one. */
const EXPORT_MS = 2000;
