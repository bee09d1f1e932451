/** How many workers the nodes hold, for the division among jobs; who really fits is the scheduler's to say. */
import type { Resources } from "@coxswain/domain";

interface Capacity {
  readonly cpu: number;
  readonly memoryMib: number;
  readonly gpu: number;
  readonly diskMibps?: number | undefined;
  readonly networkMibps?: number | undefined;
}

/**
 * Workers of the largest size that any of the jobs asks for, on all nodes together. Without a known
 * node the jobs' own limits are all there is to say.
 */
export function roomOf(
  nodes: readonly { readonly capacity: Capacity }[],
  jobs: readonly {
    readonly spec: { readonly resources: Resources; readonly workers: { readonly max: number } };
  }[],
): number {
  if (nodes.length === 0) return jobs.reduce((sum, { spec }) => sum + spec.workers.max, 0);
  const largest = {
    cpu: Math.max(0, ...jobs.map(({ spec }) => spec.resources.cpu)),
    memoryMib: Math.max(0, ...jobs.map(({ spec }) => spec.resources.memory)),
    gpu: Math.max(0, ...jobs.map(({ spec }) => spec.resources.gpu)),
    diskMibps: Math.max(0, ...jobs.map(({ spec }) => spec.resources.diskIo ?? 0)),
    networkMibps: Math.max(0, ...jobs.map(({ spec }) => spec.resources.network ?? 0)),
  };
  return nodes.reduce((sum, { capacity }) => sum + workersOn(capacity, largest, jobs), 0);
}

function workersOn(
  capacity: Capacity,
  worker: Capacity,
  jobs: readonly { readonly spec: { readonly workers: { readonly max: number } } }[],
): number {
  const most = jobs.reduce((sum, { spec }) => sum + spec.workers.max, 0);
  const fitting = (["cpu", "memoryMib", "gpu", "diskMibps", "networkMibps"] as const)
    .filter((resource) => (worker[resource] ?? 0) > 0)
    .map((resource) => Math.floor((capacity[resource] ?? 0) / worker[resource]! + 1e-9));
  return Math.min(most, ...fitting);
}
