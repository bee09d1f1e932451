/**
 * OpenTelemetry, loaded only where something is done with it: otherwise it costs nothing, since the
 * API's no-op tracer and meter answer.
 */
import type { RequestListener } from "node:http";
import { context, propagation, type Span, SpanStatusCode, trace } from "@opentelemetry/api";

export interface Telemetry {
  /** Answers Prometheus; undefined where metrics are not kept for it. */
  readonly metrics: RequestListener | undefined;
  stop(): Promise<void>;
}

/** The settings that OpenTelemetry's own SDKs read, by their names. */
export interface TelemetryConfig {
  readonly OTEL_EXPORTER_OTLP_ENDPOINT?: string;
  readonly OTEL_METRICS_EXPORTER?: "otlp" | "prometheus" | "none";
}

export async function startTelemetry(
  service: string,
  { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_METRICS_EXPORTER: exporter }: TelemetryConfig,
): Promise<Telemetry> {
  const base = endpoint?.replace(/\/$/, "");
  const prometheus = exporter === "prometheus" ? await buildPrometheus() : undefined;
  const sendsMetrics = base !== undefined && (exporter ?? "otlp") === "otlp";
  if (base === undefined && prometheus === undefined)
    return { metrics: undefined, stop: async () => undefined };
  const { NodeSDK } = await import("@opentelemetry/sdk-node");
  const metricReaders = [
    ...(prometheus === undefined ? [] : [prometheus]),
    ...(sendsMetrics ? [await buildMetricReader(base)] : []),
  ];
  const sdk = new NodeSDK({
    serviceName: `coxswain-${service}`,
    // None: the SDK would otherwise look for a collector on this machine.
    ...(base === undefined
      ? { spanProcessors: [] }
      : { traceExporter: await buildTraceExporter(base) }),
    metricReaders,
    autoDetectResources: false,
    instrumentations: [],
  });
  sdk.start();
  return {
    metrics:
      prometheus && ((request, response) => prometheus.getMetricsRequestHandler(request, response)),
    stop: () => sdk.shutdown(),
  };
}

async function buildTraceExporter(base: string) {
  const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-http");
  return new OTLPTraceExporter({ url: `${base}/v1/traces` });
}

async function buildMetricReader(base: string) {
  const [{ OTLPMetricExporter }, { PeriodicExportingMetricReader }] = await Promise.all([
    import("@opentelemetry/exporter-metrics-otlp-http"),
    import("@opentelemetry/sdk-metrics"),
  ]);
  const exporter = new OTLPMetricExporter({ url: `${base}/v1/metrics` });
  return new PeriodicExportingMetricReader({ exporter });
}

/** Answers from the health port, so it opens none of its own. */
async function buildPrometheus() {
  const { PrometheusExporter } = await import("@opentelemetry/exporter-prometheus");
  return new PrometheusExporter({ preventServerStart: true });
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
