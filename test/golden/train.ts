/** Trains small models with every optimizer on one engine; prints the weights' hashes as JSON. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { EngineSettings } from "@coxswain/domain";
import { type CompiledProgram, openEngine, takeState, tensorRanges } from "@coxswain/engine";
import {
  adam,
  adamW,
  clipByGlobalNorm,
  clipByNorm,
  clipByValue,
  cosine,
  lamb,
  momentum,
  type Optimizer,
  sgd,
  warmUp,
} from "@coxswain/program";

const programPath = join(import.meta.dirname, "program.mjs");
const settings = { data: "made up", batchSize: 32, shards: 8, seed: 3, steps: 40 };
const models = ["mlp", "cnn", "transformer", "cnn with batch normalization"];
const stepsOfEach = 4;
const learningRate = warmUp({ steps: 2, from: 1e-3, after: cosine({ from: 0.05, steps: 20 }) });

/** New ones at the end: each trains on the steps after those of the one before. */
const optimizers: Readonly<Record<string, Optimizer>> = {
  sgd: sgd({ learningRate }),
  momentum: momentum({ learningRate }),
  nesterov: momentum({ learningRate, nesterov: true }),
  adam: adam({ learningRate }),
  adamW: adamW({ learningRate }),
  lamb: lamb({ learningRate }),
  "momentum clipped by value": clipByValue(momentum({ learningRate }), 0.01),
  "adam clipped by norm": clipByNorm(adam({ learningRate }), 0.05),
  "lamb clipped by global norm": clipByGlobalNorm(lamb({ learningRate }), 0.1),
};

async function train(
  name: string,
  options: EngineSettings & { readonly cacheDir: string },
): Promise<Record<string, string>> {
  const engine = await openEngine(name, options);
  const hashes: Record<string, string> = {};
  for (const model of models) {
    const program = await engine.compile({ ...settings, programPath, parameters: { model } });
    for (const [index, [optimizer, made]] of Object.entries(optimizers).entries())
      hashes[`${model}, ${optimizer}`] = trained(program, made, index * stepsOfEach);
    program.dispose();
  }
  return hashes;
}

function trained(program: CompiledProgram, optimizer: Optimizer, firstStep: number): string {
  const { layout } = program;
  const parameters = new Float32Array(layout.parameterFloats);
  program.initialize(parameters);
  const slots = Array.from({ length: optimizer.slotCount }, () => parameters.slice().fill(0));
  const tensors = tensorRanges(layout);
  for (let step = 0; step < stepsOfEach; step += 1) {
    const shardAt = (shard: number) => {
      const out = new Float32Array(layout.vectorFloats);
      program.gradient({ step: firstStep + step, shard, parameters }, out);
      return out;
    };
    const reduced = sumOf(0, settings.shards, shardAt);
    const gradient = reduced.subarray(0, parameters.length);
    optimizer.update({ step, parameters, slots, gradient, tensors });
    takeState(layout, parameters, reduced);
  }
  return createHash("sha256").update(Buffer.from(parameters.buffer)).digest("hex");
}

/** T(lo, z) = T(lo, z/2) + T(lo + z/2, z/2) */
function sumOf(lo: number, size: number, leaf: (shard: number) => Float32Array): Float32Array {
  if (size === 1) return leaf(lo);
  const [left, right] = [sumOf(lo, size / 2, leaf), sumOf(lo + size / 2, size / 2, leaf)];
  return left.map((value, i) => value + right[i]!);
}

const [engine = "", cacheDir = "", engineSettings = "{}"] = process.argv.slice(2);
console.log(JSON.stringify(await train(engine, { cacheDir, ...JSON.parse(engineSettings) })));
