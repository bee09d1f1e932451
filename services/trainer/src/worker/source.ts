/** Another job's checkpoint, at which a job begins. */
import { AppError, type CheckpointSource } from "@coxswain/domain";
import {
  type CheckpointFacts,
  isDamage,
  type ReadableStore,
  readCheckpoint,
  storePaths,
} from "@coxswain/store";
import type { Compiled } from "./compute-messages.ts";

interface SourcePorts {
  readonly store: ReadableStore;
  readonly compiled: Pick<Compiled, "layout" | "samplesTrain">;
  readonly steps: number;
}

/**
 * The program may be another one, such as one with another learning rate, as long as its parameters,
 * its optimizer's slots and its data have the same shape.
 *
 * @throws AppError `checkpoint-mismatch`; `checkpoint-damaged`, `checkpoint-not-found`: there is none
 *   before it that the job could fall back to
 */
export async function readSource(ports: SourcePorts, from: CheckpointSource | undefined) {
  if (from?.sha256 === undefined) return undefined;
  const what = `the checkpoint of step ${from.step} of job "${from.job}", where this job begins`;
  const checkpoint = { path: storePaths.checkpoint(from.job, from.step), sha256: from.sha256 };
  const source = await readCheckpoint(ports.store, checkpoint).catch((error: unknown) => {
    if (!isDamage(error)) throw error;
    throw new AppError(error.code, `${what}: ${error.sentence}`, { cause: error });
  });
  const difference = differenceOf(ports, source.manifest);
  if (difference !== undefined) throw new AppError("checkpoint-mismatch", `${what}, ${difference}`);
  return source;
}

/** What stands in the way, as the end of a sentence. */
export function differenceOf(
  { compiled, steps }: Omit<SourcePorts, "store">,
  facts: Pick<
    CheckpointFacts,
    "step" | "slotCount" | "parameterFloats" | "segments" | "samplesTrain"
  >,
): string | undefined {
  const { layout, samplesTrain } = compiled;
  if (facts.step >= steps) return `leaves nothing to train: the job has ${steps} steps`;
  if (facts.samplesTrain !== undefined && facts.samplesTrain !== samplesTrain)
    return `was trained on ${facts.samplesTrain} samples, the job's data has ${samplesTrain}`;
  const theirs = facts.segments.map(({ name, shape }) => `${name} [${shape.join(", ")}]`);
  const ours = layout.segments.map(({ name, shape }) => `${name} [${shape.join(", ")}]`);
  const index = theirs.findIndex((one, at) => one !== ours[at]);
  const at = index === -1 && ours.length > theirs.length ? theirs.length : index;
  if (at !== -1)
    return `has ${theirs[at] ?? "no parameter"} where the program has ${ours[at] ?? "none"}`;
  if (facts.slotCount !== layout.slotCount)
    return `has ${facts.slotCount} values of the optimizer for each parameter, the program's optimizer has ${layout.slotCount}`;
  if (facts.parameterFloats !== layout.parameterFloats)
    return "lays its parameters out differently";
  return undefined;
}
