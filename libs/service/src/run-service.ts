/**
 * What every `main.ts` needs: log, health, telemetry, a bus, readiness said aloud, a stop with a
 * deadline. A service hands over one function that starts its loop.
 */
import { type Bus, connectBus } from "@coxswain/bus";
import { AppError } from "@coxswain/domain";
import { type Logger, pino } from "pino";
import { type Readiness, startHealth } from "./health.ts";
import { startTelemetry } from "./telemetry.ts";

export interface CommonConfig {
  readonly NATS_URL: string;
  readonly NATS_TOKEN?: string;
  readonly NATS_REPLICAS: number;
  readonly LOG_LEVEL: string;
  readonly HEALTH_PORT: number;
  readonly HEALTH_HOST: string;
  readonly STOP_TIMEOUT_MS: number;
  readonly OTEL_EXPORTER_OTLP_ENDPOINT?: string;
  readonly OTEL_METRICS_EXPORTER?: "otlp" | "prometheus" | "none";
}

export interface ServiceContext {
  readonly bus: Bus;
  readonly log: Logger;
  /** Aborts when the service shall stop. */
  readonly signal: AbortSignal;
}

export interface RunningService {
  /** Ends when the service has done its last; a rejection is a bug and ends the process with 1. */
  readonly done: Promise<void>;
  /** Facts for the ready line, such as the port. */
  readonly facts?: Readonly<Record<string, unknown>>;
  readonly readiness?: () => Readiness;
}

/** Structured lines on stdout. Lines that cannot be written, for want of space, are lost; nothing else is. */
export function createLogger(service: string, level: string): Logger {
  const destination = pino.destination({ fd: 1, sync: true });
  destination.on("error", () => undefined);
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
  return pino(
    { level, base: { service, pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    destination,
  );
}

/** Runs a service until SIGTERM, SIGINT, or the end of its supervisor; then exits the process. */
export async function runService(
  name: string,
  config: CommonConfig,
  start: (context: ServiceContext) => Promise<RunningService>,
): Promise<never> {
  const log = createLogger(name, config.LOG_LEVEL);
  const stop = new AbortController();
  listenForStop(stop, config.STOP_TIMEOUT_MS, log);
  try {
    const telemetry = await startTelemetry(name, config);
    const bus = await connectBus({
      url: config.NATS_URL,
      token: config.NATS_TOKEN,
      name: `${name}@${process.pid}`,
      replicas: config.NATS_REPLICAS,
    });
    bus.onStatus((status) => log.info({ status }, "bus connection changed"));
    const running = await start({ bus, log, signal: stop.signal });
    const readiness = () =>
      running.readiness?.() ?? {
        isReady: bus.isConnected,
        reason: bus.isConnected ? "ready" : "the bus is away",
      };
    const health = await startHealth({
      host: config.HEALTH_HOST,
      port: config.HEALTH_PORT,
      readiness,
      metrics: telemetry.metrics,
    });
    const facts = { ...running.facts, healthPort: health.port };
    log.info(facts, "ready");
    process.send?.({ kind: "ready", service: name, ...facts });
    await running.done;
    health.close();
    await bus.close();
    await telemetry.stop();
  } catch (error) {
    const failure = error instanceof AppError ? { code: error.code, fix: error.fix } : {};
    log.fatal({ err: error, ...failure }, "service failed");
    process.send?.({ kind: "failed", service: name, message: String(error), ...failure });
    process.exit(1);
  }
  log.info("stopped");
  process.exit(0);
}

function listenForStop(stop: AbortController, timeoutMs: number, log: Logger): void {
  const begin = (reason: string) => {
    if (stop.signal.aborted) return;
    log.info({ reason }, "stopping");
    stop.abort(new Error(reason));
    setTimeout(() => {
      log.error({ timeoutMs }, "graceful stop took too long");
      process.exit(1);
    }, timeoutMs).unref();
  };
  process.on("SIGTERM", () => begin("SIGTERM"));
  process.on("SIGINT", () => begin("SIGINT"));
  process.on("disconnect", () => begin("the supervisor is gone"));
}
