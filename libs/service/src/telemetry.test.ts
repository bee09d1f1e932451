import { equal, match, ok } from "node:assert/strict";
import { test } from "node:test";
import { startHealth } from "./health.ts";
import { record } from "./metrics.ts";
import { startTelemetry } from "./telemetry.ts";

test("metrics for Prometheus stand at the health port, with the field's names and units", async (t) => {
  const telemetry = await startTelemetry("test", { OTEL_METRICS_EXPORTER: "prometheus" });
  t.after(() => telemetry.stop());
  const health = await startHealth({
    host: "127.0.0.1",
    port: 0,
    readiness: () => ({ isReady: true, reason: "ready" }),
    metrics: telemetry.metrics,
  });
  t.after(() => health.close());
  record({ metric: "recoveries", value: 1, attributes: { cause: "loss" } });
  record({ metric: "recoveries", value: 2, attributes: { cause: "loss" } });
  record({ metric: "stepDuration", value: 0.004, attributes: { queue: "default" } });
  const response = await fetch(`http://127.0.0.1:${health.port}/metrics`);
  const text = await response.text();
  equal(response.status, 200);
  match(text, /^coxswain_training_recoveries_total\{.*cause="loss".*\} 3/m);
  match(text, /^coxswain_training_step_seconds_bucket\{.*le="0.005".*\} 1/m);
});

test("without a collector nothing is loaded, and /metrics says that it is not there", async (t) => {
  const telemetry = await startTelemetry("test", {});
  ok(telemetry.metrics === undefined);
  const health = await startHealth({
    host: "127.0.0.1",
    port: 0,
    readiness: () => ({ isReady: true, reason: "ready" }),
    metrics: telemetry.metrics,
  });
  t.after(() => health.close());
  equal((await fetch(`http://127.0.0.1:${health.port}/metrics`)).status, 404);
});
