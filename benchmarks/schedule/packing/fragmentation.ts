/**
 * Fragmentation of a machine for a workload (Weng et al., "Beware of Fragmentation: Scheduling
 * GPU-Sharing Workloads with Fragmentation Gradient Descent", USENIX ATC'23): the GPU capacity that
 * the next pod, drawn from the workload, is expected not to be able to use.
 *
 *   F(machine) = sum over classes of popularity * (all free GPU capacity, if the class does not fit;
 *                else the free capacity of the GPUs that hold less than the class needs of one)
 */
import { fits, type Machine, type Pod } from "./machines.ts";

export interface PodClass {
  readonly pod: Pod;
  /** Part of the workload, 0 to 1. */
  readonly popularity: number;
}

const keyOf = ({ cpuMilli, memoryMib, gpus, gpuMilli }: Pod) =>
  `${cpuMilli} ${memoryMib} ${gpus} ${gpuMilli}`;

export function classesOf(pods: readonly Pod[]): PodClass[] {
  const counts = new Map<string, { readonly pod: Pod; count: number }>();
  for (const pod of pods) {
    const known = counts.get(keyOf(pod));
    if (known === undefined) counts.set(keyOf(pod), { pod, count: 1 });
    else known.count += 1;
  }
  return [...counts.values()].map(({ pod, count }) => ({ pod, popularity: count / pods.length }));
}

/** In thousandths of a GPU. Classes without GPUs count none of it as usable. */
export function fragmentation(machine: Machine, classes: readonly PodClass[]): number {
  let all = 0;
  for (const free of machine.gpuFree) all += free;
  if (all === 0) return 0;
  let expected = 0;
  for (const { pod, popularity } of classes) {
    if (pod.gpus === 0 || !fits(pod, machine)) {
      expected += popularity * all;
      continue;
    }
    let useless = 0;
    for (const free of machine.gpuFree) if (free < pod.gpuMilli) useless += free;
    expected += popularity * useless;
  }
  return expected;
}
