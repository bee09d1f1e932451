/** GPUs allocated when a cluster is filled with pods of a published trace, policy by policy. */
import type { Resources } from "@coxswain/domain";
import { type NodeChoice, nodeChoices, type ResourceName } from "@coxswain/scheduling";
import { mean, rounded, seeded } from "../lib/numbers.ts";
import { readOptions } from "../lib/options.ts";
import { printLastLine, printTable } from "../lib/report.ts";
import { dataFolder, dataOptions, writeResult } from "./lib/data.ts";
import { type Filled, fill } from "./packing/fill.ts";
import { classesOf } from "./packing/fragmentation.ts";
import { type FilledLive, fillLive, nodeOf } from "./packing/live.ts";
import { runApart, runTogether, type Spell } from "./packing/makespan.ts";
import { fillApart, fillTogether } from "./packing/mixed.ts";
import { inflated, readOpenb, syntheticTrace } from "./packing/openb.ts";
import { policies } from "./packing/policies.ts";

const options = readOptions(
  "schedule packing",
  "Fills the machines of Alibaba's openb trace with its pods and says how much of the GPUs each policy allocates.",
  {
    seeds: { value: "5", text: "orders of pods, drawn at random from the trace" },
    demand: { value: "1.3", text: "pods come until they ask for so many times all GPUs" },
    waves: { value: "4", text: "for the makespan, mixed jobs ask for so many times all GPUs" },
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

/** The scheduler's own decisions: machines and pods as they are, but every GPU a whole one. */
function openbLive(choice: NodeChoice): FilledLive {
  const nodes = trace.machines.map(({ cpuMilli, memoryMib, gpus }, index) =>
    nodeOf(index, { cpu: cpuMilli / 1000, memory: memoryMib, gpu: gpus }),
  );
  const capacity = trace.machines.reduce((sum, { gpus }) => sum + gpus, 0);
  const random = seeded(1);
  const workers: Resources[] = [];
  for (let asked = 0; asked < options.count("demand") * capacity; ) {
    const { cpuMilli, memoryMib, gpus } = trace.pods[Math.floor(random() * trace.pods.length)]!;
    workers.push({ cpu: cpuMilli / 1000, memory: memoryMib, gpu: gpus });
    asked += gpus;
  }
  return fillLive(nodes, workers, choice);
}

const live = nodeChoices.map((choice) => {
  const demand = options.count("demand");
  const seedsOf = Array.from({ length: seeds }, (_, index) => index + 1);
  const meanOf = (fillOne: typeof fillTogether) => {
    const filled = seedsOf.map((seed) => fillOne(demand, seed, choice));
    const of = (name: ResourceName) => mean(filled.map(({ atEnd }) => atEnd[name] ?? 0));
    return {
      cpu: rounded(of("cpu")),
      memory: rounded(of("memoryMib")),
      gpu: rounded(of("gpu")),
      disk: rounded(of("diskMibps")),
      placed: mean(filled.map(({ placed }) => placed)),
      gpuAtFirstRejection: rounded(mean(filled.map((one) => one.atFirstRejection.gpu ?? 0))),
    };
  };
  const { atEnd, atFirstRejection, rejected } = openbLive(choice);
  return {
    choice,
    openb: {
      gpuAtFirstRejection: rounded(atFirstRejection.gpu ?? 0),
      gpuAtEnd: rounded(atEnd.gpu ?? 0),
      cpuAtEnd: rounded(atEnd.cpu ?? 0),
      rejected,
    },
    together: meanOf(fillTogether),
    apart: meanOf(fillApart),
  };
});

/** The mixed jobs to their end. */
function spellOf(run: typeof runTogether) {
  const spells = Array.from({ length: seeds }, (_, index) =>
    run(options.count("waves"), index + 1),
  );
  const of = (value: (spell: Spell) => number) => rounded(mean(spells.map(value)));
  return {
    makespanHours: of(({ makespanHours }) => makespanHours),
    leastHours: of(({ leastHours }) => leastHours),
    meanJctHours: of(({ meanJctHours }) => meanJctHours),
    cpu: of(({ used }) => used.cpu ?? 0),
    memory: of(({ used }) => used.memory ?? 0),
    gpu: of(({ used }) => used.gpu ?? 0),
    disk: of(({ used }) => used.diskIo ?? 0),
  };
}
const spells = { together: spellOf(runTogether), apart: spellOf(runApart) };

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
console.log("The live scheduler, by NODE_CHOICE:");
printTable(
  ["choice", "whole GPUs: first rejection, %", "end, %", "cores, %", "rejected"],
  live.map(({ choice, openb }) => [
    choice,
    percent(openb.gpuAtFirstRejection ?? Number.NaN),
    percent(openb.gpuAtEnd ?? Number.NaN),
    percent(openb.cpuAtEnd ?? Number.NaN),
    openb.rejected,
  ]),
);
printTable(
  [
    "mixed jobs",
    "choice",
    "cores, %",
    "memory, %",
    "GPUs, %",
    "disk, %",
    "jobs",
    "GPUs at first no, %",
  ],
  (["together", "apart"] as const).flatMap((how) =>
    live.map(({ choice, [how]: one }) => [
      how,
      choice,
      ...[one.cpu, one.memory, one.gpu, one.disk].map((part) => percent(part ?? Number.NaN)),
      one.placed,
      percent(one.gpuAtFirstRejection ?? Number.NaN),
    ]),
  ),
);
printTable(
  [
    "to their end",
    "makespan, h",
    "no sooner than, h",
    "mean JCT, h",
    "cores, %",
    "memory, %",
    "GPUs, %",
    "disk, %",
  ],
  Object.entries(spells).map(([how, one]) => [
    how,
    ...[one.makespanHours, one.leastHours, one.meanJctHours].map((hours) => hours ?? "-"),
    ...[one.cpu, one.memory, one.gpu, one.disk].map((part) => percent(part ?? Number.NaN)),
  ]),
);
await writeResult(options, "packing.json", { trace: trace.name, seeds, rows, live, spells });
printLastLine({
  benchmark: "schedule packing",
  trace: trace.name,
  seeds,
  policies: summaries,
  live: Object.fromEntries(live.map(({ choice, openb }) => [choice, openb])),
  mixed: {
    together: Object.fromEntries(live.map(({ choice, together }) => [choice, together])),
    apart: Object.fromEntries(live.map(({ choice, apart }) => [choice, apart])),
    spells,
  },
});
