/**
 * The native engine without and with XLA, interleaved: a step of each model in 1 and 8 shards, engine
 * alone. Processors' time counts, the least of the rounds, so that other programs disturb little.
 */
import { cacheFolder } from "@coxswain/embedded";
import type { BareFigures } from "./lib/bare-engine.ts";
import { readOptions } from "./lib/options.ts";
import { printLastLine, printTable } from "./lib/report.ts";
import { type Model, runBareEngines } from "./lib/run-bare-engine.ts";

const options = readOptions("xla", "A step of the native engine, without and with XLA.", {
  models: { value: "mlp,cnn,transformer", text: "which" },
  rounds: { value: "3", text: "interleaved runs" },
  "mlp-steps": { value: "200", text: "measured steps of the MLP" },
  "cnn-steps": { value: "20", text: "measured steps of the CNN" },
  "transformer-steps": { value: "20", text: "measured steps of the transformer" },
});
const warmUpSteps = 3;
const rounds = options.quick ? 1 : options.count("rounds");

async function run(model: Model, shards: number, xla?: true): Promise<BareFigures> {
  const steps = Math.max(5, Math.round(options.count(`${model}-steps`) / (options.quick ? 10 : 1)));
  const orders = { engine: "native", cacheDir: cacheFolder(process.env), shards };
  const more = { ...orders, warmUpSteps, steps, ...(xla && { xla }) };
  const [figures] = await runBareEngines(model, 1, more);
  return figures!;
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
