/** What the scheduler decided about a job that goes on. */
import { assertNever } from "./assert.ts";
import type { Job, JobState } from "./job.ts";
import type { FactOf } from "./job-facts.ts";

export function foldDecision(
  job: Job,
  fact: FactOf<"job.queued" | "job.placed" | "job.preempted" | "job.suspended">,
): Job {
  switch (fact.name) {
    case "job.queued":
      return { ...job, state: { kind: "queued", ...fact.payload } };
    case "job.placed":
      return foldPlaced(job, fact);
    case "job.preempted":
      return {
        ...job,
        placement: [],
        members: [],
        shrunkAtMs: fact.timeMs,
        state: { kind: "queued", reason: "Preempted", message: fact.payload.reason },
      };
    case "job.suspended":
      return { ...job, placement: [], members: [], state: { kind: "suspended" } };
    default:
      return assertNever(fact);
  }
}

function foldPlaced(job: Job, { payload, timeMs }: FactOf<"job.placed">): Job {
  const { workers, engine } = payload;
  const state: JobState = job.state.kind === "queued" ? { kind: "placed" } : job.state;
  const before = new Set(job.placement.map(({ workerId }) => workerId));
  const added = workers.map(({ workerId }) => workerId).filter((id) => !before.has(id));
  // A loss that was told while the scheduler decided: it did not know of it, and nobody tells it twice.
  const hasEnded = new Set(job.ended.map(({ workerId }) => workerId));
  const { min, max } = job.spec.workers;
  const wanted = Math.min(max, Math.max(min, job.workersWanted ?? max));
  // Below what is wanted for it: the room went to somebody else.
  const isTaken = workers.length < job.placement.length && workers.length < wanted;
  return {
    ...job,
    state,
    placement: workers.filter(({ workerId }) => !hasEnded.has(workerId)),
    placedAtMs: timeMs,
    shrunkAtMs: isTaken ? timeMs : job.shrunkAtMs,
    placedSinceLoss: [...job.placedSinceLoss, ...added],
    engine,
  };
}
