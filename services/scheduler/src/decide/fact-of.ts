/** The fact that tells a decision. */
import type { Job } from "@coxswain/domain";
import type { EventName, PayloadOf } from "@coxswain/events";
import type { JobDecision } from "@coxswain/scheduling";

export type Fact = {
  [Name in EventName]: { readonly name: Name; readonly payload: PayloadOf<Name> };
}[EventName];

export function factOf(decision: JobDecision, job: Job, epoch: number): Fact {
  switch (decision.kind) {
    case "queue":
      return {
        name: "job.queued",
        payload: {
          reason: decision.reason,
          message: decision.message,
          position: decision.position,
        },
      };
    case "place": {
      const dead =
        decision.declaredDead.length > 0 ? { declaredDead: [...decision.declaredDead] } : {};
      return {
        name: "job.placed",
        payload: {
          epoch,
          workers: [...decision.workers],
          engine: decision.engine,
          reason: decision.reason,
          ...dead,
        },
      };
    }
    case "preempt":
      return {
        name: "job.preempted",
        payload: { epoch, reason: decision.reason, by: decision.by },
      };
    case "end":
      return {
        name: decision.how === "suspended" ? "job.suspended" : "job.cancelled",
        payload: { epoch },
      };
    case "succeed": {
      const { weightsSha256, metrics, step } = job.finished!;
      return { name: "job.succeeded", payload: { epoch, weightsSha256, metrics, steps: step } };
    }
    case "fail": {
      const worker = decision.workerId === undefined ? {} : { workerId: decision.workerId };
      return {
        name: "job.failed",
        payload: { epoch, error: { code: decision.code, message: decision.message, ...worker } },
      };
    }
  }
}
