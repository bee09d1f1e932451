/**
 * Why a job waits, and the smallest changes that would start it now.
 *
 * Each change is a snapshot in which one thing is different, decided by the code that decides for
 * the scheduler; only what then places the job is named.
 */
import { counted, engineLike, type Job } from "@coxswain/domain";
import { decidePlacement, stateOf } from "./decide-placement.ts";
import { byImportance, type NodeView, type Snapshot } from "./snapshot.ts";
import { isAllowed } from "./try-gang.ts";
import { type Amounts, type ResourceName, resourceNames, type Vector, vectorOf } from "./vector.ts";

export type Change =
  | { readonly kind: "fewer-workers"; readonly workers: number }
  | { readonly kind: "larger-node"; readonly nodeId: string; readonly more: Amounts }
  | { readonly kind: "more-nodes"; readonly nodes: number; readonly each: Amounts }
  | {
      readonly kind: "more-quota";
      readonly queue: string;
      readonly more: Readonly<Record<string, number>>;
    }
  | { readonly kind: "without-job"; readonly jobId: string }
  | { readonly kind: "higher-priority"; readonly priority: number };

export interface VerifiedChange {
  readonly change: Change;
  readonly text: string;
}

export interface Explanation {
  readonly jobId: string;
  readonly state: string;
  /** Why it waits; absent when it does not. */
  readonly reason?: string;
  readonly message?: string;
  /** In its queue, from 1. */
  readonly position?: number;
  /** True when the scheduler's next look will start it. */
  readonly isStarting?: boolean;
  readonly changes: readonly VerifiedChange[];
}

const nodesTriedMax = 16;
const jobsTriedMax = 32;
const jobsNamedMax = 3;

export function explain(snapshot: Snapshot, job: Job): Explanation {
  const { kind } = job.state;
  if (kind !== "queued") return { jobId: job.id, state: kind, changes: [] };
  const own = ownDecision(snapshot, job.id);
  if (own?.kind === "place") return { jobId: job.id, state: kind, isStarting: true, changes: [] };
  const fresh = own?.kind === "queue" ? own : whyNow(snapshot, job);
  return {
    jobId: job.id,
    state: kind,
    reason: fresh.reason,
    message: fresh.message,
    position: stateOf(snapshot).pending.positionOf(job),
    changes: changesFor(snapshot, job),
  };
}

function ownDecision(snapshot: Snapshot, jobId: string) {
  return decidePlacement(snapshot).find((one) => one.kind !== "reserve" && one.jobId === jobId);
}

/** As if nobody had told the job anything yet: then the reason is news, with present numbers. */
function whyNow(
  snapshot: Snapshot,
  job: Job,
): { readonly reason: string; readonly message: string } {
  const untold: Job = { ...job, state: { kind: "queued", reason: "", message: "" } };
  const own = ownDecision(withJob(snapshot, untold), job.id);
  return own?.kind === "queue" ? own : { reason: "PendingEvaluation", message: "" };
}

function withJob(snapshot: Snapshot, job: Job): Snapshot {
  return { ...snapshot, jobs: snapshot.jobs.map((one) => (one.id === job.id ? job : one)) };
}

function changesFor(snapshot: Snapshot, job: Job): VerifiedChange[] {
  return [
    ...fewerWorkers(snapshot, job),
    ...moreQuota(snapshot, job),
    ...largerNode(snapshot, job),
    ...moreNodes(snapshot, job),
    ...higherPriority(snapshot, job),
    ...withoutJob(snapshot, job),
  ];
}

const starts = (snapshot: Snapshot, job: Job) => ownDecision(snapshot, job.id)?.kind === "place";

/** The least of 1..most for which it starts; undefined when it does not even with the most. */
function least(most: number, startsWith: (amount: number) => boolean): number | undefined {
  if (most < 1 || !startsWith(most)) return undefined;
  let [low, high] = [1, most];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (startsWith(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function fewerWorkers(snapshot: Snapshot, job: Job): VerifiedChange[] {
  const { min, max } = job.spec.workers;
  const withMin = (workers: number) =>
    withJob(snapshot, { ...job, spec: { ...job.spec, workers: { min: workers, max } } });
  const fewer = least(min - 1, (by) => starts(withMin(min - by), job));
  if (fewer === undefined) return [];
  const workers = min - fewer;
  return [
    {
      change: { kind: "fewer-workers", workers },
      text: `${counted(workers, "worker")} instead of ${min}`,
    },
  ];
}

const quotaFields: Readonly<Record<ResourceName, string>> = {
  cpu: "cpu",
  memoryMib: "memory",
  gpu: "gpu",
  gpuMemoryMib: "gpuMemory",
  diskMibps: "diskIo",
  networkMibps: "network",
};

function moreQuota(snapshot: Snapshot, job: Job): VerifiedChange[] {
  const { queue, workers, resources } = job.spec;
  const view = (snapshot.queues ?? []).find(({ name }) => name === queue);
  const quota = view?.spec.nominalQuota as Record<string, number | undefined> | undefined;
  if (view === undefined || quota === undefined) return [];
  const need = vectorOf(resources);
  const limited = resourceNames.filter(
    (name) => quota[quotaFields[name]] !== undefined && (need[name] ?? 0) > 0,
  );
  const raised = (names: readonly ResourceName[], by: number) => {
    const nominalQuota = { ...quota };
    for (const name of names) nominalQuota[quotaFields[name]]! += by * need[name]!;
    return {
      ...snapshot,
      queues: (snapshot.queues ?? []).map((one) =>
        one === view ? { ...one, spec: { ...one.spec, nominalQuota } } : one,
      ) as NonNullable<Snapshot["queues"]>,
    };
  };
  for (const names of [...limited.map((name) => [name]), limited]) {
    const by = least(workers.min, (count) => starts(raised(names, count), job));
    if (by === undefined || names.length === 0) continue;
    const more = Object.fromEntries(names.map((name) => [quotaFields[name], by * need[name]!]));
    const text = Object.entries(more).map(([name, amount]) => `+${amount} ${name}`);
    return [
      {
        change: { kind: "more-quota", queue, more },
        text: `queue ${queue}: quota ${text.join(", ")}`,
      },
    ];
  }
  return [];
}

/** Which amounts go together: GPUs come with their memory. */
const bundles: readonly (readonly ResourceName[])[] = [
  ["gpu", "gpuMemoryMib"],
  ["cpu"],
  ["memoryMib"],
  ["diskMibps"],
  ["networkMibps"],
];

function largerNode(snapshot: Snapshot, job: Job): VerifiedChange[] {
  const need = vectorOf(job.spec.resources);
  const nodes = snapshot.nodes.filter(({ isAlive }) => isAlive).slice(0, nodesTriedMax);
  for (const names of bundles.filter(([name]) => (need[name!] ?? 0) > 0)) {
    for (const node of nodes) {
      const grown = (count: number) =>
        withNode(snapshot, { ...node, capacity: plus(node.capacity, need, names, count) });
      const count = least(job.spec.workers.min, (one) => starts(grown(one), job));
      if (count === undefined) continue;
      const more = only(need, names, count);
      const change = { kind: "larger-node", nodeId: node.nodeId, more } as const;
      return [{ change, text: `${amountText(more)} more on node ${node.nodeId}` }];
    }
  }
  return [];
}

function withNode(snapshot: Snapshot, node: NodeView): Snapshot {
  const nodes = snapshot.nodes.map((one) => (one.nodeId === node.nodeId ? node : one));
  return { ...snapshot, nodes };
}

function plus(
  capacity: Vector,
  need: Vector,
  names: readonly ResourceName[],
  count: number,
): Vector {
  const more = names.map((name) => [name, (capacity[name] ?? 0) + count * (need[name] ?? 0)]);
  return { ...capacity, ...Object.fromEntries(more) };
}

function only(need: Vector, names: readonly ResourceName[], count: number): Amounts {
  const some = names.filter((name) => (need[name] ?? 0) > 0);
  return Object.fromEntries(some.map((name) => [name, count * need[name]!]));
}

/** `2 GPUs of 16384 MiB`, `4 cores` */
export function amountText(amounts: Amounts): string {
  const { cpu = 0, memoryMib = 0, gpu = 0, gpuMemoryMib = 0 } = amounts;
  const { diskMibps = 0, networkMibps = 0 } = amounts;
  const parts: string[] = [];
  if (gpu > 0)
    parts.push(`${gpu} GPUs${gpuMemoryMib > 0 ? ` of ${Math.round(gpuMemoryMib / gpu)} MiB` : ""}`);
  if (cpu > 0) parts.push(`${cpu} cores`);
  if (memoryMib > 0) parts.push(`${memoryMib} MiB`);
  if (diskMibps > 0) parts.push(`${diskMibps} MiB/s of disk`);
  if (networkMibps > 0) parts.push(`${networkMibps} MiB/s of network`);
  return parts.join(", ");
}

/** Nodes that hold one worker each, like those that are there. */
function moreNodes(snapshot: Snapshot, job: Job): VerifiedChange[] {
  const need = vectorOf(job.spec.resources);
  const engines = snapshot.nodes.flatMap((node) => node.engines);
  const engine =
    engines.find((one) => isAllowed(job, one)) ?? job.engine ?? engineLike(job.spec.engine);
  const node = (index: number): NodeView => ({
    nodeId: `what-if-${index}`,
    capacity: need,
    engines: [engine],
    labels: job.spec.nodeSelector ?? {},
    isAlive: true,
  });
  const count = least(job.spec.workers.min, (nodes) =>
    starts(
      {
        ...snapshot,
        nodes: [...snapshot.nodes, ...Array.from({ length: nodes }, (_, i) => node(i))],
      },
      job,
    ),
  );
  if (count === undefined) return [];
  const each = only(need, resourceNames, 1);
  const change = { kind: "more-nodes", nodes: count, each } as const;
  return [{ change, text: `${count} more nodes of ${amountText(each)}` }];
}

function higherPriority(snapshot: Snapshot, job: Job): VerifiedChange[] {
  const levels = [...new Set(snapshot.jobs.map(({ spec }) => spec.priority + 1))]
    .filter((level) => level > job.spec.priority)
    .sort((a, b) => a - b);
  for (const priority of levels.slice(0, nodesTriedMax)) {
    const raised = withJob(snapshot, { ...job, spec: { ...job.spec, priority } });
    if (starts(raised, job))
      return [{ change: { kind: "higher-priority", priority }, text: `priority ${priority}` }];
  }
  return [];
}

/** Others that would have to go, the least important first. */
function withoutJob(snapshot: Snapshot, job: Job): VerifiedChange[] {
  const others = snapshot.jobs
    .filter(({ id, placement }) => id !== job.id && placement.length > 0)
    .sort((a, b) => -byImportance(a, b))
    .slice(0, jobsTriedMax)
    .filter(({ id }) =>
      starts({ ...snapshot, jobs: snapshot.jobs.filter((one) => one.id !== id) }, job),
    );
  return others.slice(0, jobsNamedMax).map(({ id }) => ({
    change: { kind: "without-job", jobId: id },
    text: `job ${id} suspended or preempted`,
  }));
}
