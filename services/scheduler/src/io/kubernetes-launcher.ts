/** Brings the workers that jobs shall have into being as Pods, and tells the log how they ended. */
import type { Bus, WantedWorker } from "@coxswain/bus";
import { AppError, type Job, type JobId } from "@coxswain/domain";
import type { NewEvent } from "@coxswain/events";
import { events, type Kube, type OwnerReference, pods } from "@coxswain/kube";
import { decidePods, type PodAction, type WantedPod } from "../decide/decide-pods.ts";
import { podOf } from "../decide/pod-of.ts";
import type { ClusterView } from "./kubernetes-cluster.ts";
import { buildAgentLauncher, type Launcher } from "./launcher.ts";
import { sideBySide } from "./side-by-side.ts";

export interface KubernetesLauncherPorts {
  readonly bus: Bus;
  readonly kube: Kube;
  readonly cluster: ClusterView;
  readonly namespace: string;
  readonly now: () => number;
  readonly log: (sentence: string, fields: object) => void;
  /** What every worker is told, beside who it is. */
  readonly environment: Readonly<Record<string, string>>;
}

type Wanted = WantedPod & WantedWorker;

/** A refused Pod is tried again after so long: a quota may have room by then. */
const refusedPauseMs = 5000;
/** Requests for workers' Pods on their way at once. */
const requestsMax = 16;

/** For one holder of the lease. What was launched is written with its epoch before a Pod is made. */
export function buildKubernetesLauncher(ports: KubernetesLauncherPorts, epoch: number): Launcher {
  const records = buildAgentLauncher(ports.bus, epoch);
  const launched = new Set<string>();
  const createdAtMs = new Map<string, number>();
  const missingAtMs = new Map<string, number>();
  const notBeforeMs = new Map<string, number>();
  let isFirst = true;
  return {
    apply: async (wantedByNode, jobs) => {
      if (!ports.cluster.isSynced) return;
      if (isFirst)
        for (const { value } of await ports.bus.bucket("assignments").entries())
          for (const { workerId } of value.workers) launched.add(workerId);
      isFirst = false;
      await records.apply(wantedByNode, jobs);
      const wanted = [...wantedByNode].flatMap(([nodeId, workers]) =>
        workers
          .filter(({ isLeaving }) => !isLeaving)
          .map((worker): Wanted => ({ ...worker, nodeId })),
      );
      const state = { launched, createdAtMs, missingAtMs, notBeforeMs };
      await actOnAll(ports, look(ports, wanted, jobs, state), state);
    },
  };
}

interface State {
  readonly launched: Set<string>;
  readonly createdAtMs: Map<string, number>;
  readonly missingAtMs: Map<string, number>;
  readonly notBeforeMs: Map<string, number>;
}

function look(
  { cluster, now }: KubernetesLauncherPorts,
  wanted: readonly Wanted[],
  jobs: ReadonlyMap<string, Job>,
  { launched, createdAtMs, missingAtMs, notBeforeMs }: State,
): PodAction<Wanted>[] {
  const nowMs = now();
  const found = cluster.workerPods();
  for (const { worker } of found) createdAtMs.delete(worker?.workerId ?? "");
  const seen = new Set(found.map(({ worker }) => worker?.workerId ?? ""));
  const leaving = [...jobs.values()].flatMap(({ id: jobId, state, placement }) =>
    state.kind === "stopping" ? placement.map((worker) => ({ jobId, ...worker })) : [],
  );
  const expected = [...wanted.filter(({ workerId }) => launched.has(workerId)), ...leaving];
  const missing = expected.filter(({ workerId }) => !seen.has(workerId));
  keepSince(missingAtMs, new Set(missing.map(({ workerId }) => workerId)), nowMs);
  const nodes = cluster.nodes();
  const actions = decidePods({
    nowMs,
    ...{ wanted, leaving },
    launched,
    pods: found,
    createdAtMs,
    missingAtMs,
    owners: cluster.owners(),
    placedAtMs: new Map([...jobs.values()].map(({ id, changedAtMs }) => [id, changedAtMs])),
    leftAtMs: new Map(
      [...jobs.values()].flatMap(({ ended }) =>
        ended.flatMap(({ workerId, how, atMs }) => (how === "left" ? [[workerId, atMs]] : [])),
      ),
    ),
    shutOutAtMs: cluster.shutOutAtMs(jobs, nowMs),
    leavingNodes: new Set(nodes.filter(({ isLeaving }) => isLeaving).map(({ name }) => name)),
    lostNodes: new Set(nodes.filter(({ ready }) => ready === "unknown").map(({ name }) => name)),
  });
  return actions.filter(
    (action) => action.kind !== "create" || nowMs >= (notBeforeMs.get(action.wanted.workerId) ?? 0),
  );
}

/** Since when each of `present` is so; the others are forgotten. */
function keepSince(since: Map<string, number>, present: ReadonlySet<string>, nowMs: number): void {
  for (const key of since.keys()) if (!present.has(key)) since.delete(key);
  for (const key of present) if (!since.has(key)) since.set(key, nowMs);
}

/** Workers are independent of each other; what is to be done about one is done in order. */
async function actOnAll(
  ports: KubernetesLauncherPorts,
  actions: readonly PodAction<Wanted>[],
  state: State,
): Promise<void> {
  const nodeNames = new Map(ports.cluster.nodes().map(({ nodeId, name }) => [nodeId, name]));
  const byWorker = Map.groupBy(actions, workerOf).values();
  await sideBySide(byWorker, requestsMax, async (own) => {
    for (const action of own) await act({ ...ports, nodeNames }, action, state);
  });
}

const workerOf = (action: PodAction<Wanted>) =>
  action.kind === "delete" ? action.pod.worker?.workerId : action.wanted.workerId;

interface ActPorts extends KubernetesLauncherPorts {
  /** By node id. */
  readonly nodeNames: ReadonlyMap<string, string>;
}

async function act(ports: ActPorts, action: PodAction<Wanted>, state: State): Promise<void> {
  switch (action.kind) {
    case "create":
      return create(ports, action, state);
    case "delete":
      return remove(ports, action);
    case "left":
    case "lost":
      ports.log("worker ended", { ...action.wanted, how: action.kind });
      await ports.bus.append(eventOf(action));
      return;
  }
}

async function create(
  ports: ActPorts,
  { wanted, owner }: Extract<PodAction<Wanted>, { kind: "create" }>,
  { launched, createdAtMs, notBeforeMs }: State,
): Promise<void> {
  const { kube, cluster, namespace, now, log, nodeNames } = ports;
  const { jobId, workerId, nodeId, engine, resources, traceparent } = wanted;
  const template = cluster.template();
  const nodeName = nodeNames.get(nodeId);
  if (template === undefined || nodeName === undefined) {
    log("a worker cannot be started yet", { jobId, workerId, nodeId, hasTemplate: !!template });
    return;
  }
  const environment = {
    ...ports.environment,
    NODE_OPTIONS: `--max-old-space-size=${Math.ceil(resources.memoryMib * 0.75)}`,
    COXSWAIN_JOB_ID: jobId,
    COXSWAIN_WORKER_ID: workerId,
    COXSWAIN_NODE_ID: nodeId,
    COXSWAIN_ENGINE: engine.name,
    COXSWAIN_ENGINE_IDENTITY: engine.identity,
    ...(traceparent === undefined ? {} : { TRACEPARENT: traceparent }),
  };
  const worker = { jobId, workerId, nodeId, nodeName, resources, environment };
  try {
    await kube.create(pods, podOf(worker, template, namespace, owner));
    launched.add(workerId);
    createdAtMs.set(workerId, now());
    log("worker's Pod made", { jobId, workerId, nodeName });
  } catch (error) {
    if (!(error instanceof AppError) || error.code === "kubernetes-unavailable") throw error;
    if (error.code === "conflict") return void launched.add(workerId);
    notBeforeMs.set(workerId, now() + refusedPauseMs);
    log("worker's Pod refused", { jobId, workerId, message: error.message });
    if (owner !== undefined) await tell(ports, owner, "PodRefused", error.message);
  }
}

async function remove(
  ports: KubernetesLauncherPorts,
  { pod, reason, isForced }: Extract<PodAction<Wanted>, { kind: "delete" }>,
): Promise<void> {
  const { kube, namespace, log, cluster } = ports;
  const force = isForced ? { gracePeriodSeconds: 0 } : {};
  log("worker's Pod deleted", { pod: pod.name, reason, isForced });
  await kube.delete(pods, { namespace, name: pod.name }, { uid: pod.uid, ...force });
  const owner = cluster.owners().get(pod.worker?.jobId ?? "");
  if (owner !== undefined && pod.state.kind !== "ended")
    await tell(ports, owner, "WorkerStopped", `${pod.name}: ${reason}`);
}

const noteCharsMax = 1000;

/** An Event on the TrainingJob, for people; nothing depends on it. */
async function tell(
  { kube, namespace, now, log }: KubernetesLauncherPorts,
  owner: Pick<OwnerReference, "name" | "uid">,
  reason: string,
  note: string,
): Promise<void> {
  const regarding = { apiVersion: "coxswain.dev/v1", kind: "TrainingJob", namespace, ...owner };
  const { name, uid } = owner;
  await kube
    .create(events, {
      metadata: { name: `${name}.${now().toString(36)}`, namespace },
      eventTime: new Date(now()).toISOString().replace("Z", "000Z"),
      reportingController: "coxswain.dev/scheduler",
      reportingInstance: "scheduler",
      action: reason === "PodRefused" ? "Create" : "Delete",
      type: reason === "PodRefused" ? "Warning" : "Normal",
      reason,
      note: note.slice(0, noteCharsMax),
      regarding: { ...regarding, name, uid },
    })
    .catch((error: unknown) => log("an Event could not be written", { message: String(error) }));
}

function eventOf(action: Extract<PodAction<Wanted>, { kind: "left" | "lost" }>): NewEvent {
  const { jobId, workerId, nodeId } = action.wanted;
  const common = { jobId: jobId as JobId, source: "scheduler" } as const;
  if (action.kind === "left") {
    const payload = { generation: 1, step: 0, workerId, reason: action.reason };
    return { ...common, name: "worker.left", id: `${jobId}.worker.left.${workerId}`, payload };
  }
  const { code, message, exitCode } = action;
  return {
    ...common,
    name: "worker.lost",
    id: `${jobId}.worker.${workerId}.lost`,
    payload: {
      workerId,
      nodeId,
      ...(exitCode === undefined ? {} : { exitCode }),
      error: { code, message: message.slice(0, 4000) },
    },
  };
}
