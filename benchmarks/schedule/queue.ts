/** Kueue's performance test with our scheduler, and what a decision costs as clusters grow. */
import { mean, percentile, rounded } from "../lib/numbers.ts";
import { readOptions } from "../lib/options.ts";
import { printLastLine, printTable } from "../lib/report.ts";
import { dataOptions, writeResult } from "./lib/data.ts";
import { linePlot } from "./lib/line-plot.ts";
import { type Growth, type Mix, measureGrowth, type Size } from "./queue/growth.ts";
import { serve } from "./queue/serve.ts";
import { idealMs, workloadsOf } from "./queue/workloads.ts";

const options = readOptions(
  "schedule queue",
  "15,000 workloads in 5 cohorts of 6 queues, and the latency of a decision by nodes and jobs.",
  {
    "fact-ms": { value: "0.84", text: "what one fact costs in the log, synced (bench platform)" },
    rigid: { value: "500,1000,2500,5000", text: "nodes, with ten rigid jobs of one priority each" },
    elastic: {
      value: "100,500,1000,2500,5000",
      text: "nodes, with ten jobs each, half elastic, 3 priorities",
    },
    events: { value: "200", text: "events measured for each size" },
    out: dataOptions.out,
  },
);
const peerSeconds = 351;
const mixes = ["rigid", "elastic"] as const satisfies readonly Mix[];
const workloads = workloadsOf(options.quick ? 0.1 : 1);
const served = serve(workloads, options.count("fact-ms"));
const decidingMs = served.decisionMs.reduce((sum, ms) => sum + ms, 0);
const idealSeconds = idealMs(workloads) / 1000;
const admit = [...served.admitMs].map(
  ([name, ms]) => [name, mean(ms), percentile(ms, 0.99)] as const,
);
printTable(
  ["workloads", "total, s", "ideal, s", "Kueue, s (its own run)", "facts", "preemptions"],
  [
    [
      workloads.length,
      (served.totalMs / 1000).toFixed(1),
      idealSeconds.toFixed(1),
      options.quick ? "-" : peerSeconds,
      served.facts,
      served.preemptions,
    ],
  ],
);
printTable(
  ["class", "admitted after, ms (mean)", "p99"],
  admit.map(([name, average, p99]) => [name, average.toFixed(0), p99.toFixed(0)]),
);

const growth: Growth[] = [];
const measure = (size: Size) => {
  const one = measureGrowth(size, options.count("events"));
  growth.push(one);
  console.log(`${one.mix}, ${one.nodes} nodes: p50 ${percentile(one.eventMs, 0.5).toFixed(1)} ms`);
};
// The cluster and the number of jobs that Pollux was published with.
for (const mix of mixes) measure({ nodes: 16, gpusPerNode: 4, jobs: 160, mix });
for (const mix of mixes)
  for (const nodes of options.quick ? [50] : options.list(mix))
    measure({ nodes, gpusPerNode: 0, jobs: 10 * nodes, mix });
printTable(
  ["jobs", "nodes", "GPUs", "jobs", "running", "first fill, ms", "event, ms (p50)", "p95", "p99"],
  growth.map(({ mix, nodes, gpusPerNode, jobs, running, fillMs, eventMs }) => [
    mix,
    nodes,
    nodes * gpusPerNode,
    jobs,
    running,
    fillMs.toFixed(0),
    percentile(eventMs, 0.5).toFixed(2),
    percentile(eventMs, 0.95).toFixed(2),
    percentile(eventMs, 0.99).toFixed(2),
  ]),
);
const plot = linePlot({
  title: "one event in a full cluster, 10 jobs for each node",
  xLabel: "nodes",
  yLabel: "ms",
  lines: mixes.map((mix) => ({
    name: mix,
    points: growth
      .filter((one) => one.mix === mix && one.gpusPerNode === 0)
      .map(({ nodes, eventMs }) => [nodes, percentile(eventMs, 0.5)] as const),
  })),
});
await writeResult(options, "queue-growth.svg", plot);
await writeResult(options, "queue.json", {
  served: { ...served, admitMs: Object.fromEntries(served.admitMs) },
  growth,
});
const largest = growth.findLast(({ mix }) => mix === "rigid")!;
printLastLine({
  benchmark: "schedule queue",
  workloads: workloads.length,
  totalSeconds: rounded(served.totalMs / 1000),
  idealSeconds: rounded(idealSeconds),
  peer: "Kueue's own test",
  peerSeconds: options.quick ? null : peerSeconds,
  decisionsPerSecond: rounded((1000 * served.facts) / decidingMs),
  admitMsMean: Object.fromEntries(admit.map(([name, average]) => [name, rounded(average)])),
  preemptions: served.preemptions,
  unfinished: served.unfinished,
  decisionMsP50: rounded(percentile(largest.eventMs, 0.5)),
  decisionMsP95: rounded(percentile(largest.eventMs, 0.95)),
  decisionMsP99: rounded(percentile(largest.eventMs, 0.99)),
  nodes: largest.nodes,
  jobs: largest.jobs,
  growth: growth.map(({ eventMs, ...one }) => ({
    ...one,
    p50: rounded(percentile(eventMs, 0.5)),
    p95: rounded(percentile(eventMs, 0.95)),
    p99: rounded(percentile(eventMs, 0.99)),
  })),
});
