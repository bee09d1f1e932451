/** What may go from the store. */
import type { JobCheckpoint } from "@coxswain/domain";

type Kept = Pick<JobCheckpoint, "step" | "generation" | "final" | "borrowed">;

const none: ReadonlySet<number> = new Set();

/** Checkpoints that go: all but the newest `keep`, the final one, and those whose step is `named`. */
export function decideRetention<Checkpoint extends Kept>(
  checkpoints: readonly Checkpoint[],
  keep: number,
  named: ReadonlySet<number> = none,
): readonly Checkpoint[] {
  const newestFirst = checkpoints.toSorted((a, b) => b.step - a.step);
  return newestFirst.slice(keep).filter(({ final, step }) => !final && !named.has(step));
}

const filePattern = /^(?<folder>.*\/(?<step>\d+))\/(?:g(?<generation>\d+)-.*|manifest-\w+\.json)$/;

export interface RetentionFacts {
  /** Committed and not pruned. */
  readonly kept: readonly Kept[];
  /** Those that go now. */
  readonly pruned: readonly Kept[];
  /** Steps that stay whatever was pruned: another job begins there. */
  readonly named: ReadonlySet<number>;
  /** Files that a checkpoint names which is not committed yet. */
  readonly held: readonly string[];
}

/**
 * Files that no checkpoint names and that none will: what was pruned, parts of steps before the
 * newest checkpoint that its generation or an older one wrote, and older generations' parts beside a
 * kept checkpoint. Parts of a later generation stay: a job that was restored from an older checkpoint
 * may be writing them now. A part that a kept checkpoint has borrowed stays with it. Whole folders
 * where nothing stays, else files; sorted.
 *
 * @param files all under the job's checkpoints
 */
export function decideOrphans(files: readonly string[], facts: RetentionFacts): readonly string[] {
  const { kept, named } = facts;
  const newest = kept.reduce<Kept | undefined>(
    (best, one) => (best === undefined || isNewer(one, best) ? one : best),
    undefined,
  );
  if (newest === undefined) return [];
  const held = new Set([...facts.held, ...kept.flatMap(({ borrowed = [] }) => borrowed)]);
  const byFolder = new Map<string, { readonly file: string; readonly isOrphan: boolean }[]>();
  for (const file of files) {
    const { folder, step, generation } = filePattern.exec(file)?.groups ?? {};
    if (folder === undefined || named.has(Number(step))) continue; // Not ours: left alone.
    const isOrphan =
      !held.has(file) && isOrphanFile({ step: Number(step), generation }, facts, newest);
    byFolder.set(folder, [...(byFolder.get(folder) ?? []), { file, isOrphan }]);
  }
  return [...byFolder].flatMap(([folder, entries]) =>
    entries.every(({ isOrphan }) => isOrphan)
      ? [folder]
      : entries.filter(({ isOrphan }) => isOrphan).map(({ file }) => file),
  );
}

function isNewer(a: Kept, b: Kept): boolean {
  return a.generation - b.generation > 0 || (a.generation === b.generation && a.step > b.step);
}

function isOrphanFile(
  { step, generation }: { readonly step: number; readonly generation: string | undefined },
  { kept, pruned }: RetentionFacts,
  newest: Kept,
): boolean {
  const own = kept.find((checkpoint) => checkpoint.step === step);
  if (own !== undefined) return generation !== undefined && Number(generation) < own.generation;
  const gone = pruned.find((checkpoint) => checkpoint.step === step);
  if (gone !== undefined && Number(generation ?? 0) <= gone.generation) return true;
  return step < newest.step && Number(generation ?? 0) <= newest.generation;
}
