/** Hypothetical jobs, nodes, quotas and services: what would be decided, and when all would be done. */
import type { QueueSpec, ServiceSpec, TrainingJobSpec } from "@coxswain/domain";
import { decidePlacement, isAboutJob, type NodeView, type Snapshot } from "@coxswain/scheduling";
import { forecast, queuedJob } from "@coxswain/sim";

export interface Question {
  readonly jobs?: readonly (Partial<TrainingJobSpec> &
    Pick<TrainingJobSpec, "workers"> & { readonly name?: string })[];
  readonly nodes?: {
    readonly count: number;
    readonly cpu: number;
    readonly memory?: number;
    readonly gpu?: number;
    /** Of each GPU, MiB. */
    readonly gpuMemory?: number;
    /** Traffic, MiB/s. */
    readonly diskIo?: number;
    readonly network?: number;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly removeNodes?: readonly string[];
  readonly queues?: Readonly<Record<string, QueueSpec>>;
  readonly services?: Readonly<Record<string, ServiceSpec>>;
  /** With `nodes`: how many of them until all jobs are done by then? */
  readonly byMs?: number;
}

export const nodesTriedMax = 64;

/** The snapshot with the question's differences; `count` overrides the number of nodes. */
export function hypothesisOf(
  snapshot: Snapshot,
  question: Question,
  count = question.nodes?.count ?? 0,
): Snapshot {
  const removed = new Set(question.removeNodes ?? []);
  const nodes = snapshot.nodes.filter(({ nodeId }) => !removed.has(nodeId));
  const queues = merge(snapshot.queues ?? [], question.queues ?? {}, (name, spec) => ({
    name,
    spec,
  }));
  const services = merge(snapshot.services ?? [], question.services ?? {}, (name, spec) => ({
    name,
    spec,
    reserved: snapshot.services?.find((one) => one.name === name)?.reserved ?? {},
  }));
  const added = (question.jobs ?? []).map(({ name, ...spec }, index) =>
    queuedJob({
      id: name ?? `what-if-${index + 1}`,
      atMs: snapshot.nowMs,
      sequence: Number.MAX_SAFE_INTEGER - 1000 + index,
      spec,
    }),
  );
  return {
    ...snapshot,
    nodes: [...nodes, ...nodesOf(snapshot, question, count)],
    queues,
    services,
    jobs: [...snapshot.jobs, ...added],
  };
}

function merge<View extends { readonly name: string }, Spec>(
  present: readonly View[],
  given: Readonly<Record<string, Spec>>,
  build: (name: string, spec: Spec) => View,
): View[] {
  const kept = present.filter(({ name }) => given[name] === undefined);
  return [...kept, ...Object.entries(given).map(([name, spec]) => build(name, spec))];
}

function nodesOf(snapshot: Snapshot, { nodes }: Question, count: number): NodeView[] {
  if (nodes === undefined) return [];
  const engines = snapshot.nodes[0]?.engines ?? [{ name: "wasm", identity: "what-if" }];
  const { cpu, memory = 1_048_576, gpu = 0, labels = {} } = nodes;
  const { gpuMemory = 0, diskIo = 0, network = 0 } = nodes;
  const others = { gpuMemoryMib: gpu * gpuMemory, diskMibps: diskIo, networkMibps: network };
  return Array.from({ length: count }, (_, index) => ({
    nodeId: `what-if-${index + 1}`,
    capacity: { cpu, memoryMib: memory, gpu, ...others },
    engines,
    labels,
    isAlive: true,
  }));
}

export interface Answer {
  /** What the next look would decide about each job that it concerns. */
  readonly decisions: readonly {
    readonly jobId: string;
    readonly kind: string;
    readonly reason?: string;
    readonly message?: string;
    readonly workers?: number;
  }[];
  /** Null when no pace was measured yet. */
  readonly ends: Readonly<Record<string, number | null>> | null;
  readonly allDoneAtMs: number | null;
  /** With `byMs`: the fewest nodes, or null when even the most that are tried do not do. */
  readonly nodesNeeded?: number | null;
}

export function answer(snapshot: Snapshot, question: Question): Answer {
  const hypothesis = hypothesisOf(snapshot, question);
  const ends = forecast(hypothesis);
  const all = ends === undefined ? [] : [...ends.values()].map(({ endsAtMs }) => endsAtMs);
  const isDone = all.length > 0 && all.every((atMs) => atMs !== undefined);
  return {
    decisions: decidePlacement(hypothesis)
      .filter(isAboutJob)
      .map((one) => ({
        jobId: one.jobId,
        kind: one.kind,
        ...("reason" in one ? { reason: one.reason } : {}),
        ...(one.kind === "queue" ? { message: one.message } : {}),
        ...(one.kind === "place" ? { workers: one.workers.length } : {}),
      })),
    ends:
      ends === undefined
        ? null
        : Object.fromEntries([...ends].map(([id, { endsAtMs }]) => [id, endsAtMs ?? null])),
    allDoneAtMs: isDone ? Math.max(...(all as number[])) : null,
    ...(question.byMs === undefined
      ? {}
      : { nodesNeeded: nodesNeeded(snapshot, question, question.byMs) }),
  };
}

/** More nodes never make all jobs end later by more than a start-up, so the fewest are searched by halves. */
function nodesNeeded(snapshot: Snapshot, question: Question, byMs: number): number | null {
  const isEnough = (count: number) => {
    const ends = forecast(hypothesisOf(snapshot, question, count));
    return (
      ends !== undefined &&
      [...ends.values()].every(({ endsAtMs }) => endsAtMs !== undefined && endsAtMs <= byMs)
    );
  };
  if (!isEnough(nodesTriedMax)) return null;
  let [low, high] = [0, nodesTriedMax];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isEnough(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
