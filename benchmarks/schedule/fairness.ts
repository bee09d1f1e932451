/**
 * Finish-time fairness on the workloads of Pollux (OSDI'21):
 *
 *   rho = completion time / completion time alone on an equal share of the cluster
 *
 * after Themis (NSDI'20). The equal share is 64 GPUs divided by the mean number of jobs that were
 * there while the job was, rounded up; alone, the job uses as much of it as serves it best, adapts
 * its batch, and never waits. The same rule judges every policy, the published times included.
 */
import {
  type Application,
  cluster,
  loadApplications,
  loadPublished,
  loadWorkload,
  type Policy,
  simulate,
} from "@coxswain/sim-pollux";
import { runBenchmark } from "../lib/clean-up.ts";
import { rounded } from "../lib/numbers.ts";
import { readOptions } from "../lib/options.ts";
import { printLastLine, printTable } from "../lib/report.ts";
import { dataOptions, requireDataFolder, writeResult } from "./lib/data.ts";
import { contentionOf, type JobTime, mean, quantile } from "./lib/job-times.ts";
import { runAll } from "./lib/pollux-runs.ts";

const options = readOptions(
  "schedule fairness",
  "Finish-time fairness of every policy on the workloads of Pollux (OSDI'21).",
  { ...dataOptions, workloads: { value: "1,2,3,4,5,6,7,8", text: "which" } },
);
const data = requireDataFolder(options, "pollux-osdi21");
const workloads = options.quick ? [6] : options.list("workloads");
const moveSeconds = 30;
const total = cluster.nodes * cluster.workersPerNode;

const applications = loadApplications(data);
const aloneSeconds = new Map<string, number>();

/** The shortest time to completion with up to `share` GPUs, alone and undisturbed. */
function alone(application: Application, share: number): number {
  const { name, limits } = application;
  const isPinned = name === "ncf";
  const most = isPinned ? 1 : Math.min(share, Math.floor(limits.max / limits.localMin));
  return Math.min(...counts(most).map((workers) => aloneOn(name, workers, isPinned)));
}

/** Up to a node each count, beyond whole nodes, and the most that there may be. */
const counts = (most: number) =>
  Array.from({ length: most }, (_, index) => index + 1).filter(
    (count) =>
      count <= cluster.workersPerNode || count % cluster.workersPerNode === 0 || count === most,
  );

function aloneOn(application: string, workers: number, isPinned: boolean): number {
  const key = `${application},${workers}`;
  const known = aloneSeconds.get(key);
  if (known !== undefined) return known;
  const nodes = Array.from({ length: workers }, (_, index) =>
    Math.floor(index / cluster.workersPerNode),
  );
  const policy: Policy = {
    fixedBatch: () => (isPinned ? 32_768 : undefined),
    decide: (jobs) => new Map(jobs.map((job) => [job, nodes])),
  };
  const job = { name: "alone", application, submitSeconds: 0, workers, batch: 0 };
  const { jobs } = simulate(applications, [job], policy, { moveSeconds });
  const seconds = jobs[0]!.completionSeconds;
  aloneSeconds.set(key, seconds);
  return seconds;
}

function rhosOf(jobs: readonly JobTime[]): number[] {
  return contentionOf(jobs).map((contention, index) => {
    const { application, completionSeconds } = jobs[index]!;
    return completionSeconds / alone(applications.get(application)!, Math.ceil(total / contention));
  });
}

function summaryOf(perWorkload: readonly (readonly JobTime[])[]) {
  const each = perWorkload.map(rhosOf);
  const all = each.flat();
  return {
    belowTwoPercent: (all.filter((rho) => rho < 2).length / all.length) * 100,
    medianRho: quantile(all, 0.5),
    maxRho: Math.max(...all),
    meanOfMaxRho: mean(each.map((rhos) => Math.max(...rhos))),
  };
}

const publishedTimes = (policy: "pollux" | "tiresias" | "optimus") =>
  workloads.map((workload) => {
    const seconds = loadPublished(data, policy, workload);
    return loadWorkload(data, workload).map((job) => ({
      ...job,
      completionSeconds: seconds[job.name]!,
    }));
  });

await runBenchmark(async () => {
  const tasks = workloads.map((workload) => ({
    folder: data,
    policy: "goodput" as const,
    workload,
    moveSeconds,
  }));
  const results = await runAll(tasks, ({ workload }) => console.log(`ours, workload ${workload}`));
  const policies = {
    pollux: summaryOf(publishedTimes("pollux")),
    tiresias: summaryOf(publishedTimes("tiresias")),
    optimus: summaryOf(publishedTimes("optimus")),
    ours: summaryOf(results.map(({ jobs }) => jobs)),
  };
  printTable(
    ["policy", "rho < 2, %", "median rho", "greatest rho", "greatest of a workload, mean"],
    Object.entries(policies).map(([name, { belowTwoPercent, medianRho, maxRho, meanOfMaxRho }]) => [
      name === "ours" ? name : `${name}, published times`,
      belowTwoPercent.toFixed(1),
      medianRho.toFixed(2),
      maxRho.toFixed(2),
      meanOfMaxRho.toFixed(2),
    ]),
  );
  await writeResult(options, "fairness.json", { tasks, results });
  printLastLine({
    benchmark: "schedule fairness",
    workloads: workloads.length,
    policies: Object.fromEntries(
      Object.entries(policies).map(([name, figures]) => [
        name,
        Object.fromEntries(Object.entries(figures).map(([key, value]) => [key, rounded(value)])),
      ]),
    ),
  });
});
