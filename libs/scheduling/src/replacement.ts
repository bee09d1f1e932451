/** How long a job waits after a loss before its workers are replaced. */
import type { Job } from "@coxswain/domain";

/** Doubled for each loss in a row. */
const replaceDelayMs = 100;
const replaceDelayMsMax = 10_000;

/** Undefined when nothing was lost since the last committed step. */
export function replacementDueAtMs(job: Job): number | undefined {
  const last = job.ended.at(-1);
  if (job.lossesInARow === 0 || last === undefined) return undefined;
  const delayMs = Math.min(replaceDelayMsMax, replaceDelayMs * 2 ** (job.lossesInARow - 1));
  return last.atMs + delayMs;
}

export function isReplacementDue(job: Job, nowMs: number): boolean {
  return nowMs >= (replacementDueAtMs(job) ?? Number.NEGATIVE_INFINITY);
}
