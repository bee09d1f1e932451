/** PaddlePaddle EDL's two published experiments: its own algorithm as the baseline, then ours. */
import { mean, rounded } from "../lib/numbers.ts";
import { readOptions } from "../lib/options.ts";
import { printLastLine, printTable } from "../lib/report.ts";
import { caseOne, caseTwo, type Experiment, type Run } from "./edl/experiment.ts";
import {
  leastMovesOne,
  leastMovesTwo,
  trainersBetween,
  trainersOffPeak,
} from "./edl/least-moves.ts";
import { type Figures, figuresOf, type OnlineFigures, onlineFiguresOf } from "./edl/metrics.ts";
import { runOriginal } from "./edl/original.ts";
import { runOurs, type Shapes } from "./edl/ours.ts";
import { dataOptions, writeResult } from "./lib/data.ts";
import { linePlot } from "./lib/line-plot.ts";
import { loadSolver } from "./lib/linear-program.ts";

const options = readOptions(
  "schedule edl",
  "The two experiments of PaddlePaddle EDL on its 133 nodes, in virtual time.",
  {
    passes: { value: "5", text: "seeds: orders of nodes and start-up delays" },
    "no-idle-defect": { text: "the original without the defect of its idle nodes (9a)" },
    "no-wedge-defect": { text: "the original without the exclusion of partly running jobs (9c)" },
    out: dataOptions.out,
  },
);
const passes = options.quick ? 1 : options.count("passes");
const rules = {
  maxLoadDesired: 0.97,
  defects: {
    addsToIdleNode: !options.has("no-idle-defect"),
    excludesPartlyRunning: !options.has("no-wedge-defect"),
  },
};

const schedulers: Readonly<Record<string, (experiment: Experiment, seed: number) => Run>> = {
  "original, off": (experiment, seed) => runOriginal(experiment, undefined, seed),
  "original, on": (experiment, seed) => runOriginal(experiment, rules, seed),
  "ours, its shapes": (experiment, seed) => runOurs(experiment, "as the original", seed),
  "ours, our shapes": (experiment, seed) => runOurs(experiment, "our own" satisfies Shapes, seed),
};

/** What the original published, or what its raw logs give where it did not (mean of 10 passes). */
const published = {
  "original, off": {
    pendingSecondsFirst: 308.5,
    withoutTrainerAt500: 14,
    jain: 0.3,
    utilizationTimeWeighted: 82.41,
    utilizationStable: 88.66,
    trainersStable: 346.8,
    gone: 0,
    killed: 0,
  },
  "original, on": {
    pendingSecondsFirst: 47.2,
    lateWaitSecondsMedian: 45,
    lateWaitSecondsP90: 93,
    withoutTrainerAt500: 0.9,
    jain: 0.44,
    utilizationTimeWeighted: 80.57,
    utilizationStable: 86.34,
    trainersStable: 253.2,
    gone: 150,
    killed: 150,
  },
} as const;
const publishedTwo = {
  "original, off": {
    utilizationTimeWeighted: 62.87,
    offPeakUtilization: 45.18,
    onlineShortfallPercent: 1.4,
    trainersMean: 86.3,
    gone: 0,
    killed: 0,
  },
  "original, on": {
    utilizationTimeWeighted: 83.7,
    offPeakUtilization: 79.21,
    onlineShortfallPercent: 22.2,
    trainersMean: 193.7,
    gone: 267,
    killed: 267,
  },
} as const;

type Numbers = Readonly<Record<string, number | null>>;

/** Means over the passes; null where a pass has none. */
function meanOf<Of extends Figures | OnlineFigures>(all: readonly Of[]): Numbers {
  const keys = Object.keys(all[0]!) as (keyof Of & string)[];
  return Object.fromEntries(
    keys.map((key) => {
      const values = all.map((figures) => figures[key] as number | null);
      return [key, values.includes(null) ? null : rounded(mean(values as number[]))];
    }),
  );
}

const seeds = Array.from({ length: passes }, (_, index) => index + 1);
const runs = Object.fromEntries(
  Object.entries(schedulers).map(([name, run]) => [
    name,
    { one: seeds.map((seed) => run(caseOne, seed)), two: seeds.map((seed) => run(caseTwo, seed)) },
  ]),
);
const one = Object.fromEntries(
  Object.entries(runs).map(([name, { one: all }]) => [name, meanOf(all.map(figuresOf))]),
);
const two = Object.fromEntries(
  Object.entries(runs).map(([name, { two: all }]) => [name, meanOf(all.map(onlineFiguresOf))]),
);

function table(
  title: string,
  ours: Readonly<Record<string, Numbers>>,
  theirs: Readonly<Record<string, Numbers>>,
) {
  const names = Object.keys(ours);
  const keys = Object.keys(ours[names[0]!]!);
  const heads = names.flatMap((name) =>
    theirs[name] === undefined ? [name] : [name, "(its logs)"],
  );
  const rows = keys.map((key) => [
    key,
    ...names.flatMap((name) => {
      const cell = ours[name]![key] ?? "never";
      return theirs[name] === undefined ? [cell] : [cell, theirs[name][key] ?? "-"];
    }),
  ]);
  printTable([title, ...heads], rows);
}

async function plots(file: string, title: string, which: "one" | "two"): Promise<void> {
  const curve = (measure: (sample: Run["samples"][number], run: Run) => number) =>
    Object.entries(runs).map(([name, all]) => {
      const run = all[which][0]!;
      const points = run.samples.map((sample) => [sample.atS, measure(sample, run)] as const);
      return { name, points };
    });
  const draw = (suffix: string, yLabel: string, lines: ReturnType<typeof curve>) =>
    writeResult(
      options,
      `${file}-${suffix}.svg`,
      linePlot({ title, xLabel: "seconds", yLabel, lines }),
    );
  await draw(
    "utilization",
    "cores in use, %",
    curve(({ cpuUsed }, { cpuTotal }) => (100 * cpuUsed) / cpuTotal),
  );
  await draw(
    "trainers",
    "trainers",
    curve(({ trainers }) => trainers.reduce((a, b) => a + b, 0)),
  );
  if (which === "one")
    await draw(
      "waiting",
      "jobs that wait",
      curve(
        ({ isSubmitted, isAble }) => isSubmitted.filter((is, job) => is && !isAble[job]).length,
      ),
    );
  else
    await draw(
      "online",
      "Nginx pods",
      curve(({ online }) => online),
    );
}

/** The fewest trainers that have to leave, in the shapes of the original; see `edl/least-moves.ts`. */
async function leastPossible() {
  const solve = await loadSolver();
  const ours = runs["ours, its shapes"]!;
  const trainers = trainersBetween(ours.one[0]!);
  return {
    case1: {
      forTheAims: leastMovesOne(solve, caseOne, { fairWhen: "stable" }),
      andFairAlways: leastMovesOne(solve, caseOne, { fairWhen: "always" }),
      withAsManyTrainers: leastMovesOne(solve, caseOne, { fairWhen: "stable", trainers }),
      andFairAlwaysToo: leastMovesOne(solve, caseOne, { fairWhen: "always", trainers }),
    },
    case2: {
      forTheAims: leastMovesTwo(solve, caseTwo),
      withAsManyTrainers: leastMovesTwo(solve, caseTwo, trainersOffPeak(ours.two[0]!)),
    },
  };
}

const least = await leastPossible();
table("case 1", one, published);
table("case 2", two, publishedTwo);
printTable(
  ["least possible number that leaves", "case 1", "case 2"],
  [
    ["for the aims", least.case1.forTheAims, least.case2.forTheAims],
    ["Jain's index held between any two arrivals too", least.case1.andFairAlways, "-"],
    [
      "with as many trainers as ours at each moment",
      least.case1.withAsManyTrainers,
      least.case2.withAsManyTrainers,
    ],
    ["both", least.case1.andFairAlwaysToo, "-"],
  ],
);
await plots("edl-case-1", "20 jobs, one after the other", "one");
await plots("edl-case-2", "6 jobs beside an online service", "two");
await writeResult(options, "edl.json", {
  passes,
  rules,
  published,
  publishedTwo,
  one,
  two,
  least,
  runs,
});
const both = (name: string) => ({ ...one[name], case2: two[name] });
printLastLine({
  benchmark: "schedule edl",
  passes,
  baseline: { on: both("original, on"), off: both("original, off") },
  ours: both("ours, its shapes"),
  oursOwnShapes: both("ours, our shapes"),
  least,
});
