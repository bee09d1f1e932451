/**
 * The load of Kueue's performance test (kubernetes-sigs/kueue, test/performance/scheduler, baseline):
 * 5 cohorts of 6 queues, 500 workloads for each queue in three classes. Each workload is one pod.
 */
import type { Job } from "@coxswain/domain";
import type { NodeView, QueueView } from "@coxswain/scheduling";
import { queuedJob } from "@coxswain/sim";

export interface WorkloadClass {
  readonly name: "small" | "medium" | "large";
  readonly perQueue: number;
  readonly everyMs: number;
  readonly runtimeMs: number;
  readonly priority: number;
  readonly cpu: number;
}

export const classes: readonly WorkloadClass[] = [
  { name: "small", perQueue: 350, everyMs: 100, runtimeMs: 200, priority: 50, cpu: 1 },
  { name: "medium", perQueue: 100, everyMs: 500, runtimeMs: 500, priority: 100, cpu: 5 },
  { name: "large", perQueue: 50, everyMs: 1200, runtimeMs: 1000, priority: 200, cpu: 20 },
];
const cohorts = 5;
const queuesPerCohort = 6;
const nominalCpu = 20;
const borrowingCpu = 100;

export interface Workload {
  readonly job: Job;
  readonly class: WorkloadClass;
  readonly arrivesAtMs: number;
}

/** Quota alone limits, as there: Kueue's test has no nodes. */
export const roomyNodes: readonly NodeView[] = Array.from({ length: 5 }, (_, index) => ({
  nodeId: `n${index}`,
  capacity: { cpu: 10_000, memoryMib: 100_000_000, gpu: 0 },
  engines: [{ name: "native", identity: "native" }],
  isAlive: true,
}));

export function queueViews(): QueueView[] {
  return Array.from({ length: cohorts * queuesPerCohort }, (_, index) => ({
    name: `queue-${index}`,
    spec: {
      cohort: `cohort-${Math.floor(index / queuesPerCohort)}`,
      weight: 1,
      strategy: "BestEffortFIFO",
      isStopped: false,
      nominalQuota: { cpu: nominalCpu },
      borrowingLimit: { cpu: borrowingCpu },
    },
  }));
}

/** `share` of the whole load, in (0, 1]. */
export function workloadsOf(share: number): Workload[] {
  const planned = queueViews().flatMap(({ name: queue }) =>
    classes.flatMap((one) =>
      Array.from({ length: Math.round(one.perQueue * share) }, (_, index) => ({
        queue,
        class: one,
        arrivesAtMs: index * one.everyMs,
      })),
    ),
  );
  return planned
    .sort((a, b) => a.arrivesAtMs - b.arrivesAtMs)
    .map(({ queue, class: one, arrivesAtMs }, index) => {
      const resources = { cpu: one.cpu, memory: 64, gpu: 0 };
      const spec = { workers: { min: 1, max: 1 }, priority: one.priority, queue, resources };
      const id = `${one.name}-${index}`;
      const job = queuedJob({ id, atMs: arrivesAtMs, sequence: index + 1, spec });
      return { job, class: one, arrivesAtMs };
    });
}

/** No schedule is shorter: the last arrival and its run, or all work on all quota. */
export function idealMs(workloads: readonly Workload[]): number {
  const last = Math.max(
    ...workloads.map(({ arrivesAtMs, class: { runtimeMs } }) => arrivesAtMs + runtimeMs),
  );
  const work = workloads.reduce((sum, { class: one }) => sum + one.cpu * one.runtimeMs, 0);
  return Math.max(last, work / (cohorts * queuesPerCohort * nominalCpu));
}
