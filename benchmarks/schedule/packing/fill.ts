/** Fills a cluster with pods, one after the other, and says how much of its GPUs was allocated. */
import {
  fits,
  gpuDemand,
  type Machine,
  machineOf,
  type Pod,
  take,
  waysToTake,
} from "./machines.ts";
import type { Score } from "./policies.ts";

export interface Filled {
  /** Part of all GPU capacity that was allocated when the first pod with GPUs found no place. */
  readonly gpuAllocatedAtFirstRejection: number;
  /** When pods had asked for as much GPU capacity as there is. */
  readonly gpuAllocatedAtFullDemand: number;
  readonly gpuAllocatedAtEnd: number;
  readonly rejected: number;
}

interface Choice {
  readonly machine: Machine;
  readonly gpus: readonly number[];
  readonly score: number;
}

/** Of the machines and ways with the least score, the first. Scores of unchanged machines are kept. */
class Chooser {
  readonly #machines: readonly Machine[];
  readonly #score: Score;
  readonly #known = new Map<Pod, (Choice | "full" | undefined)[]>();
  readonly #versions = new Map<Pod, number[]>();

  constructor(machines: readonly Machine[], score: Score) {
    this.#machines = machines;
    this.#score = score;
  }

  choose(pod: Pod): Choice | undefined {
    const known = this.#known.get(pod) ?? [];
    const versions = this.#versions.get(pod) ?? [];
    this.#known.set(pod, known);
    this.#versions.set(pod, versions);
    let best: Choice | undefined;
    for (const [index, machine] of this.#machines.entries()) {
      if (versions[index] !== machine.version) {
        known[index] = this.#bestWay(pod, machine) ?? "full";
        versions[index] = machine.version;
      }
      const choice = known[index]!;
      if (choice !== "full" && (best === undefined || choice.score < best.score)) best = choice;
    }
    return best;
  }

  #bestWay(pod: Pod, machine: Machine): Choice | undefined {
    if (!fits(pod, machine)) return undefined;
    let best: Choice | undefined;
    for (const gpus of waysToTake(pod, machine)) {
      const score = this.#score(pod, machine, gpus);
      if (best === undefined || score < best.score) best = { machine, gpus, score };
    }
    return best;
  }
}

/** Pods of one class must be the same object: scores are kept by it. Machines are left as they are. */
export function fill(machines: readonly Machine[], pods: Iterable<Pod>, score: Score): Filled {
  const copies = machines.map(({ cpuMilli, memoryMib, gpus }) =>
    machineOf(cpuMilli, memoryMib, gpus),
  );
  const capacity = copies.reduce((sum, { gpus }) => sum + gpus * 1000, 0);
  const chooser = new Chooser(copies, score);
  let [allocated, asked, rejected] = [0, 0, 0];
  let [atFirstRejection, atFullDemand] = [Number.NaN, Number.NaN];
  for (const pod of pods) {
    const choice = chooser.choose(pod);
    asked += gpuDemand(pod);
    if (choice === undefined) {
      rejected += 1;
      if (pod.gpus > 0 && Number.isNaN(atFirstRejection)) atFirstRejection = allocated / capacity;
    } else {
      take(pod, choice.machine, choice.gpus);
      choice.machine.version += 1;
      allocated += gpuDemand(pod);
    }
    if (asked >= capacity && Number.isNaN(atFullDemand)) atFullDemand = allocated / capacity;
  }
  return {
    gpuAllocatedAtFirstRejection: atFirstRejection,
    gpuAllocatedAtFullDemand: atFullDemand,
    gpuAllocatedAtEnd: allocated / capacity,
    rejected,
  };
}
