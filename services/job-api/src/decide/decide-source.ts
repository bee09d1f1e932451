/** Whether a job may begin at the checkpoint that it names. */
import type { CheckpointSource, Job, TrainingJobSpec } from "@coxswain/domain";
import type { Violation } from "@coxswain/domain/submission";

export type SourceDecision =
  | { readonly kind: "begin"; readonly from: CheckpointSource }
  | { readonly kind: "refuse"; readonly violations: readonly Violation[] };

/**
 * Seed and batch size are the source's, since with others the step would stand elsewhere in the data.
 * Shapes and samples are compared by the worker, who knows the program.
 *
 * @param source the job of that id, if there is one
 */
export function decideSource(
  spec: Pick<TrainingJobSpec, "batchSize" | "seed">,
  from: CheckpointSource,
  source: Pick<Job, "checkpoints" | "spec"> | undefined,
): SourceDecision {
  if (source === undefined)
    return refuse([{ pointer: "/spec/from/job", detail: `There is no job "${from.job}".` }]);
  const found = source.checkpoints.find(({ step }) => step === from.step);
  const steps = source.checkpoints.map(({ step }) => step).join(", ") || "none";
  const violations: Violation[] = [];
  if (found === undefined)
    violations.push({
      pointer: "/spec/from/step",
      detail: `Job "${from.job}" has no checkpoint of step ${from.step}; it has ${steps}.`,
    });
  else if (from.sha256 !== undefined && from.sha256 !== found.sha256)
    violations.push({
      pointer: "/spec/from/sha256",
      detail: `The checkpoint has manifest ${found.sha256}.`,
    });
  for (const name of ["batchSize", "seed"] as const)
    if (spec[name] !== source.spec[name])
      violations.push({
        pointer: `/spec/${name}`,
        detail: `Use ${source.spec[name]}, as job "${from.job}" does: with ${spec[name]}, step ${from.step} stands elsewhere in the data.`,
      });
  if (found === undefined || violations.length > 0) return refuse(violations);
  return { kind: "begin", from: { ...from, sha256: found.sha256 } };
}

function refuse(violations: readonly Violation[]): SourceDecision {
  return { kind: "refuse", violations };
}
