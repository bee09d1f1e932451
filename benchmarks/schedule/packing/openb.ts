/** The openb trace of Alibaba (clusterdata, cluster-trace-gpu-v2023), or a small set in its manner. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { seeded } from "../../lib/numbers.ts";
import { type Machine, machineOf, type Pod } from "./machines.ts";

export interface Trace {
  readonly name: string;
  readonly machines: readonly Machine[];
  /** In order of arrival; pods that ask for the same are the same object. */
  readonly pods: readonly Pod[];
}

/** Lines of a comma-separated file, by the names in its first one. */
export function readRows(text: string): Record<string, string>[] {
  const [head = "", ...lines] = text.trim().split("\n");
  const names = head.trim().split(",");
  return lines.map((line) => {
    const cells = line.trim().split(",");
    return Object.fromEntries(names.map((name, index) => [name, cells[index] ?? ""]));
  });
}

export function readOpenb(folder: string): Trace {
  const rows = (file: string) => readRows(readFileSync(join(folder, file), "utf8"));
  const machines = rows("openb_node_list_gpu_node.csv").map((row) =>
    machineOf(Number(row["cpu_milli"]), Number(row["memory_mib"]), Number(row["gpu"])),
  );
  const pods = rows("openb_pod_list_default.csv").map((row) => ({
    cpuMilli: Number(row["cpu_milli"]),
    memoryMib: Number(row["memory_mib"]),
    gpus: Number(row["num_gpu"]),
    gpuMilli: Number(row["gpu_milli"]),
  }));
  return { name: "openb", machines, pods: shared(pods) };
}

/** Equal pods become one object. */
function shared(pods: readonly Pod[]): Pod[] {
  const known = new Map<string, Pod>();
  return pods.map((pod) => {
    const key = JSON.stringify(pod);
    const same = known.get(key) ?? pod;
    known.set(key, same);
    return same;
  });
}

/** Without the trace: 24 machines and 400 pods, parts of GPUs and whole ones. */
export function syntheticTrace(seed: number): Trace {
  const random = seeded(seed);
  const one = <Value>(values: readonly Value[]) => values[Math.floor(random() * values.length)]!;
  const machines = Array.from({ length: 24 }, (_, index) =>
    index % 3 === 0 ? machineOf(104_000, 524_288, 2) : machineOf(96_000, 393_216, 8),
  );
  const pods = Array.from({ length: 400 }, () => {
    const gpus = one([0, 1, 1, 1, 1, 1, 1, 2, 8]);
    return {
      cpuMilli: one([3000, 6000, 8000, 12_000]),
      memoryMib: one([6144, 16_384, 49_152]),
      gpus,
      gpuMilli: gpus === 0 ? 0 : gpus === 1 ? one([200, 470, 810, 1000]) : 1000,
    };
  });
  return { name: "synthetic", machines, pods: shared(pods) };
}

/** Pods drawn at random from the trace until they ask for `demand` times all GPUs. */
export function* inflated({ machines, pods }: Trace, demand: number, seed: number): Iterable<Pod> {
  const random = seeded(seed);
  const capacity = machines.reduce((sum, { gpus }) => sum + gpus * 1000, 0);
  for (let asked = 0; asked < demand * capacity; ) {
    const pod = pods[Math.floor(random() * pods.length)]!;
    asked += pod.gpus * pod.gpuMilli;
    yield pod;
  }
}
