/** A job of a simulation, from its arrival to its end. */
import type { Job } from "@coxswain/domain";
import type { Costs, SimulatedJob } from "./scenario.ts";
import { Training } from "./training.ts";

export interface Run {
  job: Job;
  readonly training: Training;
  /** Workers that have started and are neither lost nor told to go. */
  readonly ready: Set<string>;
  /** Counts the changes of who computes: what was expected before one is stale. */
  change: number;
}

export function newRun({ job, work }: SimulatedJob, costs: Costs, nowMs: number): Run {
  const ready = new Set(job.placement.map(({ workerId }) => workerId));
  return { job, training: new Training(work, costs, nowMs), ready, change: 0 };
}
