/**
 * The native engine without and with XLA, interleaved: a step of each model in 1 and 8 shards, engine
 * alone. Processors' time counts, the least of the rounds, so that other programs disturb little.
 */
import { fork } from "node:child_process";
import { join, resolve } from "node:path";
import { cacheFolder } from "@coxswain/embedded";
import { engineEnvironment } from "@coxswain/engine";
import type { BareFigures, BareOrders } from "./lib/bare-engine.ts";
import { readOptions } from "./lib/options.ts";
import { printLastLine, printTable } from "./lib/report.ts";

const options = readOptions("xla", "A step of the native engine, without and with XLA.", {
  models: { value: "mlp,cnn,transformer", text: "which" },
  rounds: { value: "3", text: "interleaved runs" },
  "mlp-steps": { value: "200", text: "measured steps of the MLP" },
  "cnn-steps": { value: "20", text: "measured steps of the CNN" },
  "transformer-steps": { value: "20", text: "measured steps of the transformer" },
});
const root = resolve(import.meta.dirname, "..");
const programs = {
  mlp: { path: "benchmarks/programs/mlp.ts", batchSize: 64 },
  cnn: { path: "examples/mnist/cnn.ts", batchSize: 64 },
  transformer: { path: "benchmarks/programs/transformer.ts", batchSize: 16 },
} as const;
type Model = keyof typeof programs;
const warmUpSteps = 3;
const timeoutMs = 300_000;
const rounds = options.quick ? 1 : options.count("rounds");

/** In a process of its own. */
function run(model: Model, shards: number, xla?: true): Promise<BareFigures> {
  const { path, batchSize } = programs[model];
  const steps = Math.max(5, Math.round(options.count(`${model}-steps`) / (options.quick ? 10 : 1)));
  const orders: BareOrders = {
    ...{ engine: "native", programPath: join(root, path), batchSize, shards, warmUpSteps, steps },
    ...(xla && { xla }),
    cacheDir: cacheFolder(process.env),
  };
  const { promise, resolve: answer, reject } = Promise.withResolvers<BareFigures>();
  const child = fork(join(import.meta.dirname, "lib/bare-engine.ts"), [JSON.stringify(orders)], {
    timeout: timeoutMs,
    env: { ...process.env, ...engineEnvironment("native", { xla }) },
  });
  child.once("message", (message) => answer(message as BareFigures));
  child.once("exit", (code) => reject(new Error(`the engine alone ended with ${code}`)));
  return promise;
}

const least = (values: readonly number[]) => Math.min(...values);
const rows = [];
for (const model of options.text("models").split(",") as Model[])
  for (const shards of [1, 8]) {
    const [plain, compiled]: [BareFigures[], BareFigures[]] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      plain.push(await run(model, shards));
      compiled.push(await run(model, shards, true));
    }
    const without = least(plain.map(({ cpuMs }) => cpuMs));
    const withXla = least(compiled.map(({ cpuMs }) => cpuMs));
    const xlaSeconds = least(compiled.map((one) => one.xlaSeconds ?? 0));
    rows.push({ model, shards, without, withXla, ratio: withXla / without, xlaSeconds });
    console.log(JSON.stringify(rows.at(-1)));
  }
printTable(
  ["model", "shards", "native, ms", "with XLA, ms", "with / without", "compiling, s"],
  rows.map(({ model, shards, without, withXla, ratio, xlaSeconds }) => [
    ...[model, shards, without, withXla],
    ...[ratio.toFixed(2), xlaSeconds.toFixed(1)],
  ]),
);
printLastLine({ benchmark: "xla", rows });
