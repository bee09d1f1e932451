/** The simulated cluster: each minute the jobs advance, and the policy divides the machines anew. */
import { assert } from "@coxswain/domain";
import { SimulatedJob } from "./job.ts";
import type { Applications, Submission } from "./load-traces.ts";

/** Node of each worker, by job; a job that is absent has none. */
export type Allocations = ReadonlyMap<SimulatedJob, readonly number[]>;

export interface Policy {
  /** The batch that a job keeps; undefined lets it adapt. */
  fixedBatch(submission: Submission): number | undefined;
  /** Whether its steps are measured, for a model of its speed; default: those whose batch adapts. */
  isMeasured?(submission: Submission): boolean;
  /** @param jobs submitted and not done, in the order of the workload */
  decide(jobs: readonly SimulatedJob[], nowSeconds: number): Allocations;
}

export const cluster = { nodes: 16, workersPerNode: 4, stepSeconds: 60 } as const;

export interface RunOptions {
  /** What each change of a job's allocation costs; 30 in the published runs. */
  readonly moveSeconds: number;
  /** A clock for the decisions' own time. */
  readonly now?: () => number;
}

export interface JobResult {
  readonly name: string;
  readonly application: string;
  readonly submitSeconds: number;
  readonly completionSeconds: number;
  readonly moves: number;
  readonly gpuSeconds: number;
}

export interface RunResult {
  readonly jobs: readonly JobResult[];
  /** For how many jobs, and how long it took. */
  readonly decisions: readonly { readonly jobs: number; readonly ms: number }[];
}

/** A cluster does not run longer than this; a policy that starves a job is found out. */
const secondsMax = 30 * 24 * 3600;

export function simulate(
  applications: Applications,
  workload: readonly Submission[],
  policy: Policy,
  { moveSeconds, now = () => 0 }: RunOptions,
): RunResult {
  const jobs = workload.map(
    (submission) =>
      new SimulatedJob({
        name: submission.name,
        application: applications.get(submission.application)!,
        submitSeconds: submission.submitSeconds,
        fixedBatch: policy.fixedBatch(submission),
        isMeasured: policy.isMeasured?.(submission),
        moveSeconds,
      }),
  );
  const decisions: { jobs: number; ms: number }[] = [];
  for (let seconds = cluster.stepSeconds; ; seconds += cluster.stepSeconds) {
    assert(seconds < secondsMax, "every job ends");
    for (const job of jobs) job.advance(cluster.stepSeconds);
    if (jobs.every(({ doneSeconds }) => doneSeconds !== undefined)) break;
    const active = jobs.filter(
      ({ submitSeconds, doneSeconds }) => submitSeconds <= seconds && doneSeconds === undefined,
    );
    if (active.length === 0) continue;
    const startMs = now();
    const allocations = policy.decide(active, seconds);
    decisions.push({ jobs: active.length, ms: now() - startMs });
    checkRoom(allocations);
    for (const job of active) job.allocate(allocations.get(job) ?? []);
  }
  return { jobs: jobs.map(resultOf), decisions };
}

function resultOf(job: SimulatedJob): JobResult {
  return {
    name: job.name,
    application: job.application.name,
    submitSeconds: job.submitSeconds,
    completionSeconds: job.doneSeconds! - job.submitSeconds,
    moves: job.moves,
    gpuSeconds: job.gpuSeconds,
  };
}

function checkRoom(allocations: Allocations): void {
  const used = new Array<number>(cluster.nodes).fill(0);
  for (const nodes of allocations.values()) for (const node of nodes) used[node]! += 1;
  assert(
    used.every((count) => count <= cluster.workersPerNode),
    "no node holds more workers than it has room for",
  );
}

/** The free room of each node, besides what `allocations` take. */
export function freeRoom(allocations: Allocations): number[] {
  const free = new Array<number>(cluster.nodes).fill(cluster.workersPerNode);
  for (const nodes of allocations.values()) for (const node of nodes) free[node]! -= 1;
  return free;
}

/** Takes room for `workers` on the emptiest nodes first, the lower number at a tie. */
export function takeEmptiest(free: number[], workers: number): number[] {
  const taken: number[] = [];
  while (taken.length < workers) {
    const node = free.indexOf(Math.max(...free));
    const count = Math.min(free[node]!, workers - taken.length);
    assert(count > 0, "there is room for what was decided");
    free[node]! -= count;
    for (let index = 0; index < count; index += 1) taken.push(node);
  }
  return taken;
}
