/**
 * What the launcher shall bring into being: each node's complete list of workers. Kept by changes: a
 * job that changes costs its own nodes, and the list of every other node stays the same object.
 */
import type { WantedWorker } from "@coxswain/bus";
import type { Job } from "@coxswain/domain";
import { vectorOf } from "@coxswain/scheduling";

const holdingKinds: readonly string[] = ["placed", "running", "finishing", "stopping"];

export class WantedByNode {
  readonly #jobsOn = new Map<string, Map<string, readonly WantedWorker[]>>();
  readonly #lists = new Map<string, readonly WantedWorker[]>();
  readonly #placements = new Map<string, Pick<Job, "placement" | "state" | "engine">>();

  /** A job as it is now: it holds a placement, or it does not; when it stops its workers leave. */
  setJob(job: Job, traceparent?: string): void {
    const { placement, state, engine } = job;
    const known = this.#placements.get(job.id);
    const isSame =
      known !== undefined &&
      known.placement === placement &&
      known.state.kind === state.kind &&
      known.engine === engine;
    if (isSame) return;
    for (const { nodeId } of known?.placement ?? []) this.#drop(nodeId, job.id);
    this.#placements.delete(job.id);
    if (engine === undefined || !holdingKinds.includes(state.kind)) return;
    this.#placements.set(job.id, { placement, state, engine });
    const isLeaving = state.kind === "stopping";
    const resources = vectorOf(job.spec.resources);
    for (const { workerId, nodeId } of placement)
      this.#add(nodeId, {
        ...{ jobId: job.id, workerId, engine, resources },
        ...(isLeaving && { isLeaving }),
        ...(traceparent === undefined ? {} : { traceparent }),
      });
  }

  #add(nodeId: string, worker: WantedWorker): void {
    this.#lists.delete(nodeId);
    const jobs = this.#jobsOn.get(nodeId) ?? new Map<string, readonly WantedWorker[]>();
    this.#jobsOn.set(nodeId, jobs);
    jobs.set(worker.jobId, [...(jobs.get(worker.jobId) ?? []), worker]);
  }

  #drop(nodeId: string, jobId: string): void {
    this.#lists.delete(nodeId);
    const jobs = this.#jobsOn.get(nodeId);
    jobs?.delete(jobId);
    if (jobs?.size === 0) this.#jobsOn.delete(nodeId);
  }

  /** Nodes on which somebody shall run. */
  lists(): ReadonlyMap<string, readonly WantedWorker[]> {
    for (const [nodeId, jobs] of this.#jobsOn)
      if (!this.#lists.has(nodeId)) this.#lists.set(nodeId, [...jobs.values()].flat());
    return this.#lists;
  }
}
