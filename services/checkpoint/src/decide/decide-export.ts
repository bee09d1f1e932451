/** Whether the trained model is to be exported now. */
import { isEnded, type Job, type JobCheckpoint } from "@coxswain/domain";

export type ExportDecision =
  | { readonly kind: "done" }
  | { readonly kind: "wait"; readonly reason: string }
  | { readonly kind: "export"; readonly checkpoint: JobCheckpoint };

/** The end of training and the commit of its last checkpoint come in either order. */
export function decideExport(
  job: Pick<Job, "state" | "finished" | "checkpoints" | "model" | "modelExportError">,
): ExportDecision {
  if (job.model !== undefined || job.modelExportError !== undefined) return { kind: "done" };
  if (isEnded(job)) return { kind: "done" };
  if (job.finished === undefined) return { kind: "wait", reason: "the job still trains" };
  const checkpoint = job.checkpoints.findLast(({ final }) => final);
  if (checkpoint === undefined)
    return { kind: "wait", reason: "the final checkpoint is not committed" };
  return { kind: "export", checkpoint };
}
