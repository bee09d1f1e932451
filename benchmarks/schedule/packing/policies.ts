/** Where one pod goes: each policy scores a machine (and a way to take its GPUs); the least wins. */
import { fragmentation, type PodClass } from "./fragmentation.ts";
import { type Machine, type Pod, take } from "./machines.ts";

/** Less is better; ties go to the first machine and way. */
export type Score = (pod: Pod, machine: Machine, gpus: readonly number[]) => number;

const freeGpu = ({ gpuFree }: Machine) => gpuFree.reduce((sum, free) => sum + free, 0);

/** What is left, resource by resource, each as part of the machine. */
function leftOver(pod: Pod, machine: Machine): number {
  const cpu = (machine.cpuFree - pod.cpuMilli) / machine.cpuMilli;
  const memory = (machine.memoryFree - pod.memoryMib) / machine.memoryMib;
  const gpu = (freeGpu(machine) - pod.gpus * pod.gpuMilli) / (1000 * Math.max(1, machine.gpus));
  return cpu + memory + gpu;
}

/** Demand times what is free (Tetris, SIGCOMM'14): the machine whose free room has the pod's form. */
function alignment(pod: Pod, machine: Machine): number {
  const gpus = 1000 * Math.max(1, machine.gpus);
  return (
    (pod.cpuMilli / machine.cpuMilli) * (machine.cpuFree / machine.cpuMilli) +
    (pod.memoryMib / machine.memoryMib) * (machine.memoryFree / machine.memoryMib) +
    ((pod.gpus * pod.gpuMilli) / gpus) * (freeGpu(machine) / gpus)
  );
}

/** How much the expected useless GPU capacity grows. */
function growth(classes: readonly PodClass[]): Score {
  const before = new WeakMap<Machine, { readonly version: number; readonly value: number }>();
  return (pod, machine, gpus) => {
    let known = before.get(machine);
    if (known?.version !== machine.version) {
      known = { version: machine.version, value: fragmentation(machine, classes) };
      before.set(machine, known);
    }
    take(pod, machine, gpus);
    const after = fragmentation(machine, classes);
    take(pod, machine, gpus, -1);
    return after - known.value;
  };
}

/** As `libs/scheduling` orders nodes that are otherwise alike: the least free GPUs, then cores, then memory. */
const fullest: Score = (_pod, machine) =>
  freeGpu(machine) * 1e9 + machine.cpuFree * 1e3 + machine.memoryFree / 1e4;

/** Growth of fragmentation; where it is the same, the machine that is left the fullest. */
function growthThenFullest(classes: readonly PodClass[]): Score {
  const grows = growth(classes);
  return (pod, machine, gpus) =>
    Math.round(grows(pod, machine, gpus) * 100) + leftOver(pod, machine) / 10;
}

export const policies: Readonly<Record<string, (classes: readonly PodClass[]) => Score>> = {
  "first-fit": () => () => 0,
  "best-fit": () => leftOver,
  "dot-product": () => (pod, machine) => -alignment(pod, machine),
  fgd: growth,
  "fullest first": () => fullest,
  "fgd, ties by best fit": growthThenFullest,
};
