/** Jobs and snapshots for tests. */
import { type EngineSpec, type Job, next } from "@coxswain/domain";
import type { Decision, Snapshot } from "./snapshot.ts";

export const engine = { name: "wasm", identity: "wasm 1" };

export interface JobInput {
  readonly min: number;
  readonly max: number;
  readonly priority?: number;
  readonly standby?: number;
  /** So many of those that it has train; default all. */
  readonly training?: number;
  /** Workers that it has, by node. */
  readonly has?: readonly string[];
  readonly isRunning?: boolean;
  readonly queue?: string;
  /** Cores of each worker; default 1. */
  readonly cpu?: number;
  readonly gpu?: number;
  readonly gpuMemory?: number;
  readonly engine?: EngineSpec;
  readonly selector?: Readonly<Record<string, string>>;
  readonly wanted?: number;
  /** Seconds. */
  readonly timeLimit?: number;
}

/** Jobs are named j0, j1, … in order of age. */
export function jobOf(input: JobInput, index: number): Job {
  const id = `j${index}`;
  const spec = {
    program: `sha256:${"0".repeat(64)}`,
    data: "d",
    steps: 10,
    batchSize: 64,
    workers: {
      ...{ min: input.min, max: input.max },
      ...(input.standby === undefined ? {} : { standby: input.standby }),
    },
    shards: 64,
    seed: 1,
    resources: {
      cpu: input.cpu ?? 1,
      memory: 64,
      gpu: input.gpu ?? 0,
      ...(input.gpuMemory === undefined ? {} : { gpuMemory: input.gpuMemory }),
    },
    ...(input.selector === undefined ? {} : { nodeSelector: input.selector }),
    priority: input.priority ?? 0,
    queue: input.queue ?? "default",
    checkpoint: { everySteps: 5, keep: 1 },
    exchange: "exact" as const,
    stepTimeout: 10,
    engine: input.engine ?? ("auto" as const),
    parameters: {},
    ...(input.timeLimit === undefined ? {} : { timeLimit: input.timeLimit }),
  };
  const job = {
    apiVersion: "coxswain.dev/v1" as const,
    kind: "TrainingJob" as const,
    metadata: { name: id },
    spec,
  };
  let folded = next(undefined, {
    name: "job.submitted",
    jobId: id,
    sequence: index + 1,
    timeMs: index,
    payload: { job },
  });
  if (input.has === undefined) return folded;
  const workers = input.has.map((nodeId, worker) => ({ workerId: `${id}-${worker}`, nodeId }));
  folded = next(folded, {
    name: "job.placed",
    jobId: id,
    sequence: 100 + index,
    timeMs: index,
    payload: { workers, engine },
  });
  if (input.isRunning === false) return folded;
  const members = workers.slice(0, input.training).map(({ workerId, nodeId }) => ({
    workerId,
    nodeId,
    shardFrom: 0,
    shardTo: 1,
  }));
  return next(folded, {
    name: "training.generation-formed",
    jobId: id,
    sequence: 200 + index,
    timeMs: index,
    payload: { generation: 1, members },
  });
}

export function snapshotOf(
  cores: readonly number[],
  jobs: readonly Job[],
  more: Partial<Snapshot> = {},
): Snapshot {
  return {
    nowMs: 1_000_000,
    jobs,
    nodes: cores.map((cpu, index) => ({
      nodeId: `n${index}`,
      capacity: { cpu, memoryMib: 100_000, gpu: 0 },
      engines: [engine],
      isAlive: cpu > 0,
    })),
    ...more,
  };
}

/** `j0: n0 n0` for a placement, `j0: WaitingForRoom` for a wait. */
export function brief(decision: Decision): string {
  if (decision.kind === "place")
    return `${decision.jobId}: ${decision.workers.map(({ nodeId }) => nodeId).join(" ")}`;
  if (decision.kind === "queue") return `${decision.jobId}: ${decision.reason}`;
  if (decision.kind === "reserve")
    return `${decision.service}: ${JSON.stringify(decision.reserved)} missing ${decision.missing}`;
  return `${decision.jobId}: ${decision.kind}`;
}

/** The job after these decisions were carried out, and its workers train. */
export function applyAll(
  job: Job,
  decisions: readonly Decision[],
  round: number,
  timeMs = 1000 + round,
): Job {
  let folded = job;
  for (const decision of decisions) {
    if (decision.kind === "reserve" || decision.jobId !== job.id) continue;
    const common = { jobId: job.id, sequence: 1000 + round, timeMs };
    if (decision.kind === "queue") {
      const { reason, message, position } = decision;
      folded = next(folded, {
        ...common,
        name: "job.queued",
        payload: { reason, message, position },
      });
    }
    if (decision.kind === "preempt")
      folded = next(folded, { ...common, name: "job.preempted", payload: decision });
    if (decision.kind === "place") {
      folded = next(folded, { ...common, name: "job.placed", payload: decision });
      const members = decision.workers.map((worker) => ({ ...worker, shardFrom: 0, shardTo: 1 }));
      folded = next(folded, {
        ...common,
        name: "training.generation-formed",
        payload: { generation: folded.generation + 1, members },
      });
    }
  }
  return folded;
}
