/**
 * Checkpoints at which other jobs begin: a projection of the log. They are kept until the job that
 * names one has a checkpoint of its own, or has ended.
 */
import type { CheckpointSource } from "@coxswain/domain";
import type { StoredEvent } from "@coxswain/events";

export class NamedSources {
  /** By the job that begins there. */
  readonly #named = new Map<string, CheckpointSource>();
  readonly #released = new Set<string>();

  /** Call it for each event, in the log's order. */
  observe({ name, jobId, payload }: StoredEvent): void {
    switch (name) {
      case "job.submitted":
        if (payload.job.spec.from !== undefined) this.#named.set(jobId, payload.job.spec.from);
        return;
      case "checkpoint.committed":
      case "job.succeeded":
      case "job.failed":
      case "job.cancelled": {
        const from = this.#named.get(jobId);
        if (from !== undefined) this.#released.add(from.job);
        this.#named.delete(jobId);
        return;
      }
      default:
        return; // The rest names no checkpoint.
    }
  }

  /** Steps of a job's checkpoints that are named now. */
  stepsOf(jobId: string): ReadonlySet<number> {
    const own = [...this.#named.values()].filter(({ job }) => job === jobId);
    return new Set(own.map(({ step }) => step));
  }

  /** Jobs that have a checkpoint which somebody named and needs no more; each is told once. */
  takeReleased(): readonly string[] {
    const released = [...this.#released];
    this.#released.clear();
    return released;
  }
}
