/**
 * Our policy in the simulator: `decideAllocation`, the code that decides live, behind what the
 * simulator lets it see. That is what a running job could tell of itself (see there), and no more.
 * NCF stays on one GPU with its batch, as in the published runs of Pollux.
 */
import {
  type AllocationPolicy,
  type BatchLimits,
  type Demand,
  decideAllocation,
  defaultPolicy,
  divide,
  type GradientNoise,
  gainOf,
  type Spread,
  type StepModel,
  stepSeconds,
  tuneBatch,
  workersReach,
} from "@coxswain/goodput";
import { type Allocations, cluster, type Policy } from "../cluster.ts";
import type { SimulatedJob } from "../job.ts";
import type { Submission } from "../load-traces.ts";

const pinned = { application: "ncf", batch: 32_768 } as const;

export interface GoodputOptions {
  readonly policy?: AllocationPolicy;
  /** The batch that a job keeps, where none may change; absent: each is chosen with the workers. */
  readonly keptBatch?: (submission: Submission) => number;
}

export class Goodput implements Policy {
  readonly #moveSeconds: number;
  readonly #policy: AllocationPolicy;
  readonly #keptBatch: GoodputOptions["keptBatch"];
  readonly #curves = new Map<SimulatedJob, Curve>();

  constructor(moveSeconds: number, { policy = defaultPolicy, keptBatch }: GoodputOptions = {}) {
    this.#moveSeconds = moveSeconds;
    this.#policy = policy;
    this.#keptBatch = keptBatch;
  }

  fixedBatch(submission: Submission): number | undefined {
    if (submission.application === pinned.application) return pinned.batch;
    return this.#keptBatch?.(submission);
  }

  isMeasured({ application }: Submission): boolean {
    return application !== pinned.application;
  }

  decide(jobs: readonly SimulatedJob[]): Allocations {
    const room = new Array<number>(cluster.nodes).fill(cluster.workersPerNode);
    const places = decideAllocation(
      jobs.map((job) => this.#demandOf(job)),
      room,
      this.#policy,
    );
    return new Map(jobs.map((job, index) => [job, places[index]!]));
  }

  #demandOf(job: SimulatedJob): Demand {
    const { application, fixedBatch, allocation, progress } = job;
    const { limits, epochs } = application;
    const most = Math.floor((fixedBatch ?? limits.max) / limits.localMin);
    const tried = workersReach(job.workersTried, this.#policy.reach);
    const reach = job.workersTried === 0 ? most : Math.min(tried, most);
    return {
      workersMin: 0,
      workersMax: application.name === pinned.application ? 1 : Math.max(1, reach),
      present: allocation,
      goodput: this.#curveOf(job),
      stepsLeft: Math.max(1, application.progressAfter(epochs) - progress),
      moveSeconds: this.#moveSeconds,
    };
  }

  /** Goodput by spread, remembered as long as the job's model and noise are the same. */
  #curveOf(job: SimulatedJob): ((spread: Spread) => number) | undefined {
    const { model, noise, application, fixedBatch } = job;
    if (model === undefined || noise === undefined) return undefined;
    let curve = this.#curves.get(job);
    if (curve?.model !== model || curve.noise !== noise) {
      curve = { model, noise, values: new Map() };
      this.#curves.set(job, curve);
    }
    const { values } = curve;
    return (spread) => {
      const key = spread.nodes * 1000 + spread.workers;
      const known = values.get(key);
      if (known !== undefined) return known;
      const goodput =
        fixedBatch === undefined
          ? tuneBatch(model, noise, spread, application.limits).goodput
          : goodputOf(model, noise, spread, fixedBatch, application.limits);
      values.set(key, goodput);
      return goodput;
    };
  }
}

/** Of a batch that stays as it is. */
function goodputOf(
  model: StepModel,
  noise: GradientNoise,
  spread: Spread,
  total: number,
  limits: BatchLimits,
): number {
  const batch = divide(total, spread.workers, limits);
  const samples = spread.workers * batch.samples * (batch.accumulated + 1);
  return gainOf(noise, samples / limits.base) / stepSeconds(model, spread, batch);
}

interface Curve {
  readonly model: NonNullable<SimulatedJob["model"]>;
  readonly noise: NonNullable<SimulatedJob["noise"]>;
  readonly values: Map<number, number>;
}
