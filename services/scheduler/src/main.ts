import { parseConfig, runService } from "@coxswain/service";
import { type Config, ConfigSchema } from "./config.ts";
import { runScheduler } from "./service.ts";

const config = parseConfig(ConfigSchema, process.env);
const openKubernetes = config.LAUNCHER === "kubernetes" ? await loadKubernetes(config) : undefined;
await runService("scheduler", config, async ({ bus, log, signal }) => {
  const ports = {
    ...{ bus, signal, now: Date.now },
    log: (sentence: string, fields: object) => log.info(fields, sentence),
  };
  const openMachines =
    openKubernetes && ((onChange: () => void) => openKubernetes(ports, onChange));
  return {
    done: runScheduler(
      { ...ports, ...(openMachines && { openMachines }) },
      {
        cycleIntervalMs: config.CYCLE_INTERVAL_MS,
        leaseTtlMs: config.LEASE_TTL_MS,
        nodeTimeoutMs: config.NODE_TIMEOUT_MS,
        freezeMs: config.FREEZE_MS,
        nodeChoice: config.NODE_CHOICE,
      },
    ),
  };
});

/** Loaded only where it is used: the client of Kubernetes is large. */
async function loadKubernetes(given: Config) {
  const [{ connectKube }, { openKubernetes: open }] = await Promise.all([
    import("@coxswain/kube"),
    import("./io/kubernetes.ts"),
  ]);
  const kube = connectKube({ kubeconfig: given.KUBECONFIG });
  const options = {
    namespace: given.KUBERNETES_NAMESPACE,
    templateName: given.WORKER_TEMPLATE,
    engine: given.WORKER_ENGINE,
    workerEnvironment: {
      NATS_URL: given.NATS_URL,
      NATS_REPLICAS: String(given.NATS_REPLICAS),
      LOG_LEVEL: given.LOG_LEVEL,
      HEARTBEAT_TIMEOUT_MS: String(given.HEARTBEAT_TIMEOUT_MS),
      ...(given.OTEL_EXPORTER_OTLP_ENDPOINT === undefined
        ? {}
        : { OTEL_EXPORTER_OTLP_ENDPOINT: given.OTEL_EXPORTER_OTLP_ENDPOINT }),
    },
  };
  return (ports: Omit<Parameters<typeof open>[0], "kube">, onChange: () => void) =>
    open({ ...ports, kube }, options, onChange);
}
