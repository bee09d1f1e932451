/**
 * OpenTelemetry, loaded only when a collector is configured: without one it costs nothing, since
 * the API's no-op tracer and meter answer.
 */
import { context, propagation, type Span, SpanStatusCode, trace } from "@opentelemetry/api";

export interface Telemetry {
  stop(): Promise<void>;
}

export async function startTelemetry(
  service: string,
  endpoint: string | undefined,
): Promise<Telemetry> {
  if (endpoint === undefined) return { stop: async () => undefined };
  const [
    { NodeSDK },
    { OTLPTraceExporter },
    { OTLPMetricExporter },
    { PeriodicExportingMetricReader },
  ] = await Promise.all([
    import("@opentelemetry/sdk-node"),
    import("@opentelemetry/exporter-trace-otlp-http"),
    import("@opentelemetry/exporter-metrics-otlp-http"),
    import("@opentelemetry/sdk-metrics"),
  ]);
  const base = endpoint.replace(/\/$/, "");
  const sdk = new NodeSDK({
    serviceName: `coxswain-${service}`,
    traceExporter: new OTLPTraceExporter({ url: `${base}/v1/traces` }),
    metricReaders: [
      new PeriodicExportingMetricReader({
        exporter: new OTLPMetricExporter({ url: `${base}/v1/metrics` }),
      }),
    ],
    instrumentations: [],
  });
  sdk.start();
  return { stop: () => sdk.shutdown() };
}

/** Runs `act` in a span that goes on the trace of `traceparent` (W3C), when there is one. */
export async function withSpan<Result>(
  options: {
    readonly name: string;
    readonly traceparent?: string | undefined;
    readonly attributes?: Record<string, string | number>;
  },
  act: (span: Span) => Promise<Result>,
): Promise<Result> {
  const carrier = options.traceparent === undefined ? {} : { traceparent: options.traceparent };
  const parent = propagation.extract(context.active(), carrier);
  const tracer = trace.getTracer("coxswain");
  return tracer.startActiveSpan(
    options.name,
    { attributes: options.attributes ?? {} },
    parent,
    async (span) => {
      try {
        return await act(span);
      } catch (error) {
        span.setStatus({ code: SpanStatusCode.ERROR, message: String(error) });
        throw error;
      } finally {
        span.end();
      }
    },
  );
}
