/**
 * Our policy in the simulator: `decideAllocation`, the code that decides live, behind what the
 * simulator lets it see. That is what a running job could tell of itself (see there), and no more.
 * NCF stays on one GPU with its batch, as in the published runs of Pollux.
 */
import {
  type AllocationPolicy,
  type Demand,
  decideAllocation,
  defaultPolicy,
  type Spread,
  tuneBatch,
  workersReach,
} from "@coxswain/goodput";
import { type Allocations, cluster, type Policy } from "../cluster.ts";
import type { SimulatedJob } from "../job.ts";
import type { Submission } from "../load-traces.ts";

const pinned = { application: "ncf", batch: 32_768 } as const;

export class Goodput implements Policy {
  readonly #moveSeconds: number;
  readonly #policy: AllocationPolicy;
  readonly #curves = new Map<SimulatedJob, Curve>();

  constructor(moveSeconds: number, policy: AllocationPolicy = defaultPolicy) {
    this.#moveSeconds = moveSeconds;
    this.#policy = policy;
  }

  fixedBatch({ application }: Submission): number | undefined {
    return application === pinned.application ? pinned.batch : undefined;
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
    const most = Math.floor(limits.max / limits.localMin);
    const tried = workersReach(job.workersTried, this.#policy.reach);
    const reach = job.workersTried === 0 ? most : Math.min(tried, most);
    return {
      workersMin: 0,
      workersMax: fixedBatch === undefined ? reach : 1,
      present: allocation,
      goodput: this.#curveOf(job),
      stepsLeft: Math.max(1, application.progressAfter(epochs) - progress),
      moveSeconds: this.#moveSeconds,
    };
  }

  /** Goodput by spread, remembered as long as the job's model and noise are the same. */
  #curveOf(job: SimulatedJob): ((spread: Spread) => number) | undefined {
    const { model, noise, application } = job;
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
      const { goodput } = tuneBatch(model, noise, spread, application.limits);
      values.set(key, goodput);
      return goodput;
    };
  }
}

interface Curve {
  readonly model: NonNullable<SimulatedJob["model"]>;
  readonly noise: NonNullable<SimulatedJob["noise"]>;
  readonly values: Map<number, number>;
}
