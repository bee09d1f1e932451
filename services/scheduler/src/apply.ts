/** Turns decisions into facts. Each is appended by compare-and-set; who loses the race looks again. */
import { randomBytes } from "node:crypto";
import type { Bus } from "@coxswain/bus";
import { AppError, type Job, type JobId, whyIllegal } from "@coxswain/domain";
import type { NewEvent } from "@coxswain/events";
import type { JobDecision } from "@coxswain/scheduling";
import { factOf } from "./decide/fact-of.ts";

export interface ApplyPorts {
  readonly bus: Bus;
  readonly epoch: number;
  readonly log: (sentence: string, fields: object) => void;
}

/** Says one decision. Returns false when the job has moved on meanwhile. */
export async function applyDecision(
  ports: ApplyPorts,
  decision: JobDecision,
  job: Job,
): Promise<boolean> {
  const { bus, epoch, log } = ports;
  const fact = factOf(decision, job, epoch);
  const illegal = whyIllegal(job, fact.name);
  if (illegal !== undefined) return false;
  if (decision.kind === "place") await ensureSecret(bus, job.id);
  // The same decision on the same state is the same event, whoever says it.
  const event = {
    ...fact,
    jobId: job.id as JobId,
    id: `${job.id}.${fact.name}.${job.lastJobSequence}`,
    source: "scheduler",
  } as NewEvent;
  try {
    await bus.append(event, { expectLastSequence: job.lastJobSequence });
    log("decided", {
      jobId: job.id,
      fact: fact.name,
      ...("reason" in decision ? { reason: decision.reason } : {}),
    });
    return true;
  } catch (error) {
    if (error instanceof AppError && error.code === "conflict") return false;
    throw error;
  }
}

async function ensureSecret(bus: Bus, jobId: string): Promise<void> {
  const bucket = bus.bucket("secrets");
  if ((await bucket.get(jobId)) !== undefined) return;
  await bucket
    .create(jobId, { secret: randomBytes(32).toString("hex") })
    .catch((error: unknown) => {
      if (!(error instanceof AppError) || error.code !== "conflict") throw error; // Made meanwhile: as good.
    });
}
