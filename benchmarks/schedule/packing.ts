/** GPUs allocated when a cluster is filled with pods of a published trace, policy by policy. */
import { mean, rounded } from "../lib/numbers.ts";
import { readOptions } from "../lib/options.ts";
import { printLastLine, printTable } from "../lib/report.ts";
import { dataFolder, dataOptions, writeResult } from "./lib/data.ts";
import { type Filled, fill } from "./packing/fill.ts";
import { classesOf } from "./packing/fragmentation.ts";
import { inflated, readOpenb, syntheticTrace } from "./packing/openb.ts";
import { policies } from "./packing/policies.ts";

const options = readOptions(
  "schedule packing",
  "Fills the machines of Alibaba's openb trace with its pods and says how much of the GPUs each policy allocates.",
  {
    seeds: { value: "5", text: "orders of pods, drawn at random from the trace" },
    demand: { value: "1.3", text: "pods come until they ask for so many times all GPUs" },
    ...dataOptions,
  },
);
const seeds = options.quick ? 1 : options.count("seeds");
const folder = dataFolder(options, "alibaba-openb");
const trace = folder === undefined ? syntheticTrace(1) : readOpenb(folder);
const classes = classesOf(trace.pods);

interface Row {
  readonly policy: string;
  readonly order: string;
  readonly filled: Filled;
}

const rows: Row[] = [];
for (const [policy, scoreFor] of Object.entries(policies)) {
  rows.push({
    policy,
    order: "trace",
    filled: fill(trace.machines, trace.pods, scoreFor(classes)),
  });
  for (let seed = 1; seed <= seeds; seed += 1) {
    const pods = inflated(trace, options.count("demand"), seed);
    rows.push({
      policy,
      order: `seed ${seed}`,
      filled: fill(trace.machines, pods, scoreFor(classes)),
    });
  }
}

const percent = (part: number) => (Number.isNaN(part) ? "-" : (100 * part).toFixed(2));
function summary(policy: string) {
  const drawn = rows.filter((row) => row.policy === policy && row.order !== "trace");
  const traced = rows.find((row) => row.policy === policy && row.order === "trace")!.filled;
  const of = (key: keyof Filled) => mean(drawn.map(({ filled }) => filled[key]));
  return {
    gpuAllocatedAtFirstRejection: rounded(of("gpuAllocatedAtFirstRejection")),
    gpuAllocatedAtFullDemand: rounded(of("gpuAllocatedAtFullDemand")),
    gpuAllocatedAtEnd: rounded(of("gpuAllocatedAtEnd")),
    traceAllocated: rounded(traced.gpuAllocatedAtEnd),
    traceRejected: traced.rejected,
  };
}
const summaries = Object.fromEntries(Object.keys(policies).map((name) => [name, summary(name)]));
const { machines, pods } = trace;
console.log(
  `${trace.name}: ${machines.length} machines, ${pods.length} pods, ${classes.length} classes`,
);
printTable(
  ["policy", "first rejection, %", "demand = GPUs, %", "end, %", "trace as it is, %", "rejected"],
  Object.entries(summaries).map(([policy, row]) => [
    policy,
    percent(row.gpuAllocatedAtFirstRejection ?? Number.NaN),
    percent(row.gpuAllocatedAtFullDemand ?? Number.NaN),
    percent(row.gpuAllocatedAtEnd ?? Number.NaN),
    percent(row.traceAllocated ?? Number.NaN),
    row.traceRejected,
  ]),
);
console.log(
  "The paper (USENIX ATC'23, its own simulator, not run here): FGD leaves up to 49 % fewer GPUs unallocated than packing, 290 of 6,212.",
);
await writeResult(options, "packing.json", { trace: trace.name, seeds, rows });
printLastLine({ benchmark: "schedule packing", trace: trace.name, seeds, policies: summaries });
