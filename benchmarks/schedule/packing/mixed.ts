/**
 * Jobs of different needs on one kind of machine: together, and apart, each kind on machines of its
 * own. The split knows the whole workload: each kind gets machines by its dominant share of what is
 * asked for, which is the best that a fixed split can do on average.
 */
import type { Resources } from "@coxswain/domain";
import type { NodeChoice } from "@coxswain/scheduling";
import { seeded } from "../../lib/numbers.ts";
import { type Amounts, type FilledLive, fillLive, nodeOf } from "./live.ts";

const machine: Resources = {
  ...{ cpu: 48, memory: 393_216, gpu: 4, gpuMemory: 16_384 },
  ...{ diskIo: 2000, network: 3000 },
};
/** How many there are. */
export const machines = 64;

/** What one worker takes, and how often such a job comes. */
export const kinds: Readonly<
  Record<string, { readonly often: number; readonly resources: Resources }>
> = {
  vision: {
    often: 5,
    resources: { cpu: 7, memory: 32_768, gpu: 1, gpuMemory: 12_000, diskIo: 300 },
  },
  language: {
    often: 1,
    resources: { cpu: 12, memory: 98_304, gpu: 4, gpuMemory: 16_000, network: 900 },
  },
  pair: { often: 2, resources: { cpu: 10, memory: 65_536, gpu: 2, gpuMemory: 8000, diskIo: 150 } },
  tables: { often: 5, resources: { cpu: 5, memory: 81_920, gpu: 0, diskIo: 50 } },
  preparing: { often: 5, resources: { cpu: 3, memory: 6144, gpu: 0, diskIo: 450 } },
  small: { often: 8, resources: { cpu: 2, memory: 4096, gpu: 0 } },
};
/** The resources that are judged. */
export const names = ["cpu", "memory", "gpu", "diskIo"] as const;
export const capacityOf = (name: (typeof names)[number]) => machines * (machine[name] ?? 0);

/** Jobs until what is asked for of some resource is `demand` times what there is. */
export function workloadOf(demand: number, seed: number): string[] {
  const random = seeded(seed);
  const draw = Object.entries(kinds).flatMap(([name, { often }]) =>
    Array<string>(often).fill(name),
  );
  const asked = new Map<string, number>();
  const jobs: string[] = [];
  while (names.every((name) => (asked.get(name) ?? 0) < demand * capacityOf(name))) {
    const kind = draw[Math.floor(random() * draw.length)]!;
    jobs.push(kind);
    for (const name of names)
      asked.set(name, (asked.get(name) ?? 0) + (kinds[kind]!.resources[name] ?? 0));
  }
  return jobs;
}

export const nodesFrom = (first: number, count: number) =>
  Array.from({ length: count }, (_, index) => nodeOf(first + index, machine));

export function fillTogether(demand: number, seed: number, choice: NodeChoice): FilledLive {
  const jobs = workloadOf(demand, seed).map((kind) => kinds[kind]!.resources);
  return fillLive(nodesFrom(0, machines), jobs, choice);
}

/** What all partitions hold, as parts of all machines. */
export function fillApart(demand: number, seed: number, choice: NodeChoice): FilledLive {
  const jobs = workloadOf(demand, seed);
  const parts = splitOf(jobs).map(({ kind, count }) => {
    const own = jobs.filter((one) => one === kind).map((one) => kinds[one]!.resources);
    return { count, filled: fillLive(nodesFrom(0, count), own, choice) };
  });
  const weigh = (of: (filled: FilledLive) => Amounts) => {
    const sum: Record<string, number> = {};
    for (const { count, filled } of parts)
      for (const [name, part] of Object.entries(of(filled)))
        sum[name] = (sum[name] ?? 0) + (part * count) / machines;
    return sum as Amounts;
  };
  const count = (of: (filled: FilledLive) => number) =>
    parts.reduce((total, { filled }) => total + of(filled), 0);
  return {
    atFirstRejection: weigh((filled) => filled.atFirstRejection),
    atEnd: weigh((filled) => filled.atEnd),
    placed: count((filled) => filled.placed),
    rejected: count((filled) => filled.rejected),
  };
}

/** Whole machines, by dominant shares; what rounding leaves goes to the largest fractions. */
export function splitOf(
  jobs: readonly string[],
): { readonly kind: string; readonly count: number }[] {
  const dominant = Object.entries(kinds).map(([kind, { resources }]) => {
    const many = jobs.filter((one) => one === kind).length;
    const shares = names.map((name) => (many * (resources[name] ?? 0)) / capacityOf(name));
    return { kind, share: Math.max(...shares) };
  });
  const all = dominant.reduce((sum, { share }) => sum + share, 0);
  const exact = dominant.map(({ kind, share }) => ({ kind, exact: (machines * share) / all }));
  let left = machines - exact.reduce((sum, one) => sum + Math.floor(one.exact), 0);
  const byFraction = exact.toSorted((a, b) => (b.exact % 1) - (a.exact % 1));
  return byFraction.map(({ kind, exact: count }) => {
    const more = left > 0 ? 1 : 0;
    left -= more;
    return { kind, count: Math.floor(count) + more };
  });
}
