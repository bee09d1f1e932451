/** Machines with shared GPUs: what is free on each, and what a pod asks of one. GPUs in thousandths. */

export interface Pod {
  readonly cpuMilli: number;
  readonly memoryMib: number;
  readonly gpus: number;
  /** Of each GPU; 1000 is a whole one. */
  readonly gpuMilli: number;
}

export interface Machine {
  readonly cpuMilli: number;
  readonly memoryMib: number;
  readonly gpus: number;
  cpuFree: number;
  memoryFree: number;
  readonly gpuFree: number[];
  /** Counts what was placed: scores of an older version are stale. */
  version: number;
}

export function machineOf(cpuMilli: number, memoryMib: number, gpus: number): Machine {
  const gpuFree = Array<number>(gpus).fill(1000);
  const free = { cpuFree: cpuMilli, memoryFree: memoryMib, gpuFree, version: 0 };
  return { cpuMilli, memoryMib, gpus, ...free };
}

export const gpuDemand = ({ gpus, gpuMilli }: Pod) => gpus * gpuMilli;

export function fits(pod: Pod, machine: Machine): boolean {
  if (pod.cpuMilli > machine.cpuFree || pod.memoryMib > machine.memoryFree) return false;
  if (pod.gpus === 0) return true;
  let fitting = 0;
  for (const free of machine.gpuFree) if (free >= pod.gpuMilli) fitting += 1;
  return fitting >= pod.gpus;
}

/**
 * The GPUs that a pod could take, one list for each way that differs: for a part of one GPU each GPU
 * on which it fits, the fullest first; for whole GPUs, or several, just the first ones that fit.
 */
export function waysToTake(pod: Pod, machine: Machine): number[][] {
  if (pod.gpus === 0) return [[]];
  const fitting = machine.gpuFree
    .map((free, index) => ({ free, index }))
    .filter(({ free }) => free >= pod.gpuMilli)
    .sort((a, b) => a.free - b.free || a.index - b.index);
  if (pod.gpus > 1) return [fitting.slice(0, pod.gpus).map(({ index }) => index)];
  const seen = new Set<number>();
  return fitting.flatMap(({ free, index }) => {
    if (seen.has(free)) return [];
    seen.add(free);
    return [[index]];
  });
}

export function take(pod: Pod, machine: Machine, gpus: readonly number[], sign = 1): void {
  machine.cpuFree -= sign * pod.cpuMilli;
  machine.memoryFree -= sign * pod.memoryMib;
  for (const index of gpus) machine.gpuFree[index]! -= sign * pod.gpuMilli;
}
