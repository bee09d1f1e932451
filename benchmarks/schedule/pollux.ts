/** The eight workloads of Pollux (OSDI'21) in the authors' simulator, under our policy and theirs. */
import { loadPublished, loadWorkload } from "@coxswain/sim-pollux";
import { runBenchmark } from "../lib/clean-up.ts";
import { percentile, rounded } from "../lib/numbers.ts";
import { readOptions } from "../lib/options.ts";
import { printLastLine, printTable } from "../lib/report.ts";
import { dataOptions, requireDataFolder, writeResult } from "./lib/data.ts";
import { type JobTime, type Summary, summaryOf } from "./lib/job-times.ts";
import { type PolicyName, type PolluxTask, runAll } from "./lib/pollux-runs.ts";

const options = readOptions(
  "schedule pollux",
  "Mean completion time of 8 x 160 jobs on 16 nodes of 4 GPUs, beside the published results.",
  {
    ...dataOptions,
    workloads: { value: "1,2,3,4,5,6,7,8", text: "which" },
    "move-seconds": {
      value: "0.092",
      text: "our measured cost of a change of workers, in seconds",
    },
  },
);
const publishedMoveSeconds = 30;
/** Decisions with fewer jobs than this do not count for the decision time. */
const burstJobsMin = 80;
const peers = ["pollux", "tiresias", "optimus"] as const;

const data = requireDataFolder(options, "pollux-osdi21");
const workloads = options.quick ? [6] : options.list("workloads");

const runsOf = (
  policy: PolicyName,
  moveSeconds: number,
  more: Pick<PolluxTask, "keptBatch"> = {},
): PolluxTask[] =>
  workloads.map((workload) => ({ folder: data, policy, workload, moveSeconds, ...more }));

function publishedTimes(policy: (typeof peers)[number]): JobTime[][] {
  return workloads.map((workload) => {
    const seconds = loadPublished(data, policy, workload);
    return loadWorkload(data, workload).map((job) => ({
      ...job,
      completionSeconds: seconds[job.name]!,
    }));
  });
}

const row = (name: string, from: string, summary: Summary) => [
  name,
  from,
  summary.avgJctHours.toFixed(3),
  summary.medianJctHours.toFixed(3),
  summary.p99JctHours.toFixed(2),
  summary.makespanHours.toFixed(2),
];

function keysOf({ avgJctHours, p99JctHours, makespanHours }: Summary) {
  return {
    avgJctHours: rounded(avgJctHours),
    p99JctHours: rounded(p99JctHours),
    makespanHours: rounded(makespanHours),
  };
}

interface Groups {
  readonly tiresias: Summary;
  readonly optimus: Summary;
  readonly ours: Summary;
  readonly oursMeasuredMoveCost: Summary;
  readonly oursBatchAsSubmitted: Summary;
  readonly oursBatchLeast: Summary;
}

/** Runs everything; the decision times are those of 160 jobs that come at once. */
async function runGroups(moveSeconds: number) {
  const groups: Record<keyof Groups, PolluxTask[]> = {
    tiresias: runsOf("tiresias", publishedMoveSeconds),
    optimus: runsOf("optimus", publishedMoveSeconds),
    ours: runsOf("goodput", publishedMoveSeconds),
    oursMeasuredMoveCost: runsOf("goodput", moveSeconds),
    oursBatchAsSubmitted: runsOf("goodput", publishedMoveSeconds, { keptBatch: "as submitted" }),
    oursBatchLeast: runsOf("goodput", publishedMoveSeconds, { keptBatch: "least" }),
  };
  const burst: PolluxTask = { ...groups.ours[0]!, isBurst: true };
  const tasks = [...Object.values(groups).flat(), burst];
  const results = await runAll(tasks, ({ policy, workload, keptBatch }, { jobs }) =>
    console.log(
      `${policy}${keptBatch === undefined ? "" : `, batch ${keptBatch}`}, workload ${workload}: ${summaryOf([jobs]).avgJctHours.toFixed(3)} h`,
    ),
  );
  await writeResult(options, "pollux.json", { tasks, results });
  const summarize = (group: keyof Groups) =>
    summaryOf(groups[group].map((task) => results[tasks.indexOf(task)]!.jobs));
  const decisionMs = results
    .at(-1)!
    .decisions.filter(({ jobs }) => jobs >= burstJobsMin)
    .map(({ ms }) => ms);
  const summaries: Groups = {
    tiresias: summarize("tiresias"),
    optimus: summarize("optimus"),
    ours: summarize("ours"),
    oursMeasuredMoveCost: summarize("oursMeasuredMoveCost"),
    oursBatchAsSubmitted: summarize("oursBatchAsSubmitted"),
    oursBatchLeast: summarize("oursBatchLeast"),
  };
  return { summaries, decisionMs };
}

await runBenchmark(async () => {
  const moveSeconds = options.count("move-seconds");
  const { summaries, decisionMs } = await runGroups(moveSeconds);
  const published = {
    pollux: summaryOf(publishedTimes("pollux")),
    tiresias: summaryOf(publishedTimes("tiresias")),
    optimus: summaryOf(publishedTimes("optimus")),
  };
  const errorPercent = (peer: "tiresias" | "optimus") =>
    rounded((summaries[peer].avgJctHours / published[peer].avgJctHours - 1) * 100);
  printTable(
    ["policy", "from", "mean JCT, h", "median, h", "p99, h", "makespan, h"],
    [
      row("Pollux", "published", published.pollux),
      row("Tiresias", "published", published.tiresias),
      row("Tiresias", "our port", summaries.tiresias),
      row("Optimus", "published", published.optimus),
      row("Optimus", "our port", summaries.optimus),
      row("ours, a move costs 30 s", "this run", summaries.ours),
      row(`ours, a move costs ${moveSeconds} s`, "this run", summaries.oursMeasuredMoveCost),
      row("ours, batches as submitted", "this run", summaries.oursBatchAsSubmitted),
      row("ours, batches as small as can be", "this run", summaries.oursBatchLeast),
    ],
  );
  printLastLine({
    benchmark: "schedule pollux",
    workloads: workloads.length,
    gates: {
      tiresiasErrorPercent: errorPercent("tiresias"),
      optimusErrorPercent: errorPercent("optimus"),
    },
    ours: keysOf(summaries.ours),
    oursMeasuredMoveCost: { moveSeconds, ...keysOf(summaries.oursMeasuredMoveCost) },
    oursBatchAsSubmitted: keysOf(summaries.oursBatchAsSubmitted),
    oursBatchLeast: keysOf(summaries.oursBatchLeast),
    published: Object.fromEntries(peers.map((peer) => [peer, keysOf(published[peer])])),
    decisionMsP95: rounded(percentile(decisionMs, 0.95)),
    decisions: decisionMs.length,
  });
});
