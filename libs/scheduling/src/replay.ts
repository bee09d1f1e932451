/** Makes every recorded decision again, from the log of facts and the scheduler's own records. */
import { AppError, type Job, type JobFact, next } from "@coxswain/domain";
import { decidePlacement } from "./decide-placement.ts";
import { type DecisionRecord, foldLook, type Look, noLook } from "./look.ts";
import type { Decision } from "./snapshot.ts";

export interface Replayed {
  readonly cycles: number;
  readonly decisions: number;
  /** Cycles that came out otherwise. Empty: every decision is reproduced, bit for bit. */
  readonly different: readonly {
    readonly sequence: number;
    readonly epoch: number;
    readonly decisions: readonly Decision[];
  }[];
  /** Cycles before the first whole record: what they saw is no longer kept. */
  readonly skipped: number;
}

/**
 * @param facts in the log's order, from its beginning
 * @param hashOf SHA-256 of a text, hexadecimal
 */
export function replay(
  facts: readonly JobFact[],
  records: readonly DecisionRecord[],
  hashOf: (text: string) => string,
): Replayed {
  const jobs = new Map<string, Job>();
  let folded = 0;
  const foldUpTo = (sequence: number) => {
    for (; folded < facts.length && facts[folded]!.sequence <= sequence; folded += 1)
      foldOne(jobs, facts[folded]!);
  };
  let look: Look | undefined;
  const result = { cycles: 0, decisions: 0, skipped: 0 };
  const different: Replayed["different"][number][] = [];
  for (const record of records) {
    if (record.kind === "saw") {
      if (look !== undefined || record.isWhole) look = foldLook(look ?? noLook, record);
    } else if (look === undefined) result.skipped += 1;
    else {
      foldUpTo(record.sequence);
      const snapshot = { nowMs: record.nowMs, jobs: [...jobs.values()], ...look };
      const decisions = decidePlacement(snapshot);
      result.cycles += 1;
      result.decisions += decisions.length;
      if (hashOf(JSON.stringify(decisions)) !== record.sha256)
        different.push({ sequence: record.sequence, epoch: record.epoch, decisions });
    }
  }
  return { ...result, different };
}

function foldOne(jobs: Map<string, Job>, fact: JobFact): void {
  try {
    jobs.set(fact.jobId, next(jobs.get(fact.jobId), fact));
  } catch (error) {
    // A fact that the fold refuses leaves the job as it was, then and now.
    if (!(error instanceof AppError)) throw error;
  }
}
