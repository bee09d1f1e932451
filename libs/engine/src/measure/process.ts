/** A process that measures one engine; its orders are the first argument. */
import { openEngine } from "../open-engine.ts";
import { startShards } from "../start-shards.ts";
import type { EngineSpeed, MeasureOrders } from "./measure-engine.ts";

const {
  engine: name,
  isa,
  xla,
  gpu,
  cacheDir,
  seconds,
  batchSize,
} = JSON.parse(process.argv[2] ?? "") as MeasureOrders;

/** Before the clock starts: what is compiled and cached on the first calls. */
const warmUpSteps = 5;
const shards = 8;

const engine = await openEngine(name, { cacheDir, isa, xla, gpu, onFallback: () => undefined });
const programPath = new URL("./perceptron.ts", import.meta.url).pathname;
const program = await engine.compile({
  ...{ programPath, batchSize, shards },
  data: "made-up",
  seed: 1,
  parameters: {},
});
const parameters = new Float32Array(program.layout.parameterFloats);
const gradient = new Float32Array(program.layout.vectorFloats);
program.initialize(parameters);
const runs = program.shardRuns;
const compute = (step: number) => {
  if (runs !== undefined)
    return runs.sum(startShards(runs, { step, shard: 0, count: shards, parameters }), gradient);
  for (let shard = 0; shard < shards; shard += 1)
    program.gradient({ step, shard, parameters }, gradient);
};
for (let step = 0; step < warmUpSteps; step += 1) compute(step);
const startedMs = performance.now();
let steps = 0;
while (performance.now() - startedMs < seconds * 1000) {
  compute(warmUpSteps + steps);
  steps += 1;
}
const took = (performance.now() - startedMs) / 1000;
const speed: EngineSpeed = {
  samplesPerSecond: Math.round((steps * batchSize) / took),
  mode: program.mode,
};
process.send?.(speed);
process.disconnect?.();
