export { commonConfig, parseConfig } from "./config.ts";
export { type Readiness, startHealth } from "./health.ts";
export { instruments, type Measurement, type MetricName, record } from "./metrics.ts";
export {
  type CommonConfig,
  createLogger,
  type RunningService,
  runService,
  type ServiceContext,
} from "./run-service.ts";
export { startTelemetry, type Telemetry, withSpan } from "./telemetry.ts";
