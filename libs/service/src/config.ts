/** A service's configuration: the environment, read once, as one schema with units and defaults. */
import { readFileSync } from "node:fs";
import { AppError } from "@coxswain/domain";
import { type Static, type TObject, Type, Value } from "@coxswain/schema";

/** What every service reads. */
export const commonConfig = {
  NATS_URL: Type.String({ default: "nats://127.0.0.1:4222", description: "nats-server" }),
  NATS_TOKEN: Type.Optional(
    Type.String({ minLength: 1, description: "What nats-server asks for, where it asks" }),
  ),
  NATS_REPLICAS: Type.Integer({
    default: 1,
    minimum: 1,
    maximum: 5,
    description: "Replicas of streams and buckets",
  }),
  LOG_LEVEL: Type.String({
    default: "info",
    pattern: "^(trace|debug|info|warn|error|fatal|silent)$",
  }),
  HEALTH_PORT: Type.Integer({
    default: 0,
    minimum: 0,
    maximum: 65_535,
    description: "/healthz and /readyz; 0 takes a free port",
  }),
  HEALTH_HOST: Type.String({ default: "127.0.0.1" }),
  STOP_TIMEOUT_MS: Type.Integer({
    default: 10_000,
    minimum: 100,
    description: "A graceful stop takes no longer",
  }),
  OTEL_EXPORTER_OTLP_ENDPOINT: Type.Optional(
    Type.String({ description: "Collector; absent: no traces" }),
  ),
  OTEL_METRICS_EXPORTER: Type.Optional(
    Type.Enum(["otlp", "prometheus", "none"], {
      description:
        "Where metrics go: to the collector (default where there is one), or /metrics at HEALTH_PORT",
    }),
  ),
};

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Parses the environment. Unknown variables are ignored, absent ones get their default. Where
 * `NAME_FILE` stands in a setting's place, its value is what that file holds.
 *
 * @throws AppError `invalid-config` that names every violation at once.
 */
export function parseConfig<Schema extends TObject>(
  schema: Schema,
  environment: Environment,
): Static<Schema> {
  const settings = Object.keys(schema.properties).map((name) => readSetting(name, environment));
  const given = Object.fromEntries(
    settings.flatMap(({ name, value }) => (value === undefined ? [] : [[name, value]])),
  );
  const config = Value.Convert(schema, Value.Default(schema, given));
  const unread = settings.flatMap(({ violation }) => violation ?? []);
  const errors = [...Value.Errors(schema, config)].map(
    (error) => `${error.instancePath.slice(1) || "environment"}: ${error.message}`,
  );
  const violations = [...unread, ...errors];
  if (violations.length > 0) {
    throw new AppError("invalid-config", `${violations.join("; ")}`, { details: { violations } });
  }
  return config as Static<Schema>;
}

interface Setting {
  readonly name: string;
  readonly value?: string;
  readonly violation?: string;
}

/** Secrets come as files: a variable shows in `docker inspect`, and is inherited by children. */
function readSetting(name: string, environment: Environment): Setting {
  const value = environment[name] || undefined;
  const file = environment[`${name}_FILE`] || undefined;
  if (file === undefined) return value === undefined ? { name } : { name, value };
  if (value !== undefined) return { name, violation: `give ${name} or ${name}_FILE, not both` };
  try {
    return { name, value: readFileSync(file, "utf8").replace(/\r?\n$/, "") };
  } catch (error) {
    return { name, violation: `${name}_FILE: ${(error as Error).message}` };
  }
}
