/** The agent as a service: it registers the node, says signs of life, and runs the node's workers. */
import { availableParallelism, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Bus, NodeRecord, WantedWorker } from "@coxswain/bus";
import { AppError, settingsOf } from "@coxswain/domain";
import { availableEngines, engineEnvironment, type Gpu, lookForGpus } from "@coxswain/engine";
import { Agent, type AgentPorts } from "./agent/agent.ts";
import type { Config } from "./config.ts";
import { gpuOfferOf, labelsOf, offerOf } from "./decide/offer.ts";

const heartbeatMs = 1000;

export async function runTrainer(
  ports: AgentPorts,
  config: Config,
  inherited: Readonly<Record<string, string>>,
): Promise<void> {
  const found = await lookForGpus().catch((error: unknown) => {
    ports.log("no GPU is offered", { err: error });
    return [];
  });
  const settings = { gpu: config.NODE_GPU, memoryMib: config.NODE_GPU_MEMORY_MIB };
  const { devices, ...offered } = gpuOfferOf(settings, found);
  const agent = new Agent(ports, {
    gpus: devices,
    nodeId: config.NODE_ID,
    folder: config.NODE_DIR,
    leaveTimeoutMs: config.LEAVE_TIMEOUT_MS,
    workerEnvironment: (wanted, folder, gpus) => ({
      ...inherited,
      ...workerVariables(config, wanted, folder),
      // An empty list hides them all.
      ...(devices === undefined ? {} : { CUDA_VISIBLE_DEVICES: gpus.join() }),
    }),
  });
  const gpus = found.filter(({ uuid }) => devices?.includes(uuid));
  await register(ports, await nodeRecord(config, offered, gpus));
  await Promise.all([agent.run(), signsOfLife(ports.bus, config.NODE_ID, ports.signal)]);
  await signOff(ports, config.NODE_ID);
}

function workerVariables(
  config: Config,
  wanted: WantedWorker,
  folder: string,
): Record<string, string> {
  return {
    ...engineEnvironment(wanted.engine.name, settingsOf(wanted.engine.identity)),
    NATS_URL: config.NATS_URL,
    ...(config.NATS_TOKEN === undefined ? {} : { NATS_TOKEN: config.NATS_TOKEN }),
    NATS_REPLICAS: String(config.NATS_REPLICAS),
    LOG_LEVEL: config.LOG_LEVEL,
    STORE_URL: config.STORE_URL,
    HEARTBEAT_TIMEOUT_MS: String(config.HEARTBEAT_TIMEOUT_MS),
    SLOW_AFTER_MS: String(config.SLOW_AFTER_MS),
    LEAVE_TIMEOUT_MS: String(config.LEAVE_TIMEOUT_MS),
    EXCHANGE_TLS: config.EXCHANGE_TLS,
    COXSWAIN_JOB_ID: wanted.jobId,
    COXSWAIN_WORKER_ID: wanted.workerId,
    COXSWAIN_NODE_ID: config.NODE_ID,
    COXSWAIN_WORKER_DIR: folder,
    COXSWAIN_CACHE_DIR: config.COXSWAIN_CACHE_DIR,
    // Each of a worker's threads loads modules anew: compiled once, they load in two thirds of the time.
    NODE_COMPILE_CACHE: join(config.COXSWAIN_CACHE_DIR, "compile-cache"),
    COXSWAIN_ENGINE: wanted.engine.name,
    COXSWAIN_ENGINE_IDENTITY: wanted.engine.identity,
    COXSWAIN_HOST: config.NODE_HOST,
    ...(wanted.traceparent === undefined ? {} : { TRACEPARENT: wanted.traceparent }),
    ...(config.OTEL_EXPORTER_OTLP_ENDPOINT === undefined
      ? {}
      : { OTEL_EXPORTER_OTLP_ENDPOINT: config.OTEL_EXPORTER_OTLP_ENDPOINT }),
    ...(config.COXSWAIN_COMMIT_LOG === undefined
      ? {}
      : { COXSWAIN_COMMIT_LOG: config.COXSWAIN_COMMIT_LOG }),
  };
}

async function nodeRecord(
  config: Config,
  offered: Pick<NodeRecord["capacity"], "gpu" | "gpuMemoryMib">,
  gpus: readonly Gpu[],
): Promise<NodeRecord> {
  const engines = await availableEngines({ cacheDir: config.COXSWAIN_CACHE_DIR, gpus });
  return {
    nodeId: config.NODE_ID,
    host: config.NODE_HOST,
    capacity: {
      ...offerOf(
        { cpu: config.NODE_CPU, memoryMib: config.NODE_MEMORY_MIB },
        {
          cores: availableParallelism(),
          memoryBytes: totalmem(),
          memoryLimitBytes: process.constrainedMemory(),
        },
      ),
      ...offered,
      diskMibps: config.NODE_DISK_MIBPS,
      networkMibps: config.NODE_NETWORK_MIBPS,
    },
    labels: labelsOf(config.NODE_LABELS),
    ...(gpus.length > 0 && { gpus: gpus.map(({ uuid: _, ...facts }) => facts) }),
    engines: engines.map(({ name, text }) => ({ name, identity: text })),
    startedAtMs: Date.now(),
    agentVersion: "0.1.0",
  };
}

async function register({ bus, log, signal }: AgentPorts, record: NodeRecord): Promise<void> {
  while (!signal.aborted) {
    try {
      await bus.bucket("nodes").put(record.nodeId, record);
      return;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      log("the node could not be registered; trying again", { message: error.message });
      await delay(heartbeatMs);
    }
  }
}

/** A node that stops in good order is gone at once; of one that dies its silence tells. */
async function signOff({ bus, log }: AgentPorts, nodeId: string): Promise<void> {
  if (!bus.isConnected) return;
  await bus
    .bucket("nodes")
    .delete(nodeId)
    .catch((error: unknown) => log("the node could not be signed off", { err: error }));
}

async function signsOfLife(bus: Bus, nodeId: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    bus.signal(`hb.v1.node.${nodeId}`, {});
    await delay(heartbeatMs, undefined, { signal }).catch(() => undefined);
  }
}
