/** What may go from the store. */
import type { JobCheckpoint } from "@coxswain/domain";

type Kept = Pick<JobCheckpoint, "step" | "generation" | "final">;

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

const filePattern = /^(?<folder>.*\/(?<step>\d+))\/(?:g(?<generation>\d+)-.*|manifest\.json)$/;

/**
 * Files that no checkpoint names and that none will: parts of steps before the newest checkpoint
 * that its generation or an older one wrote, and older generations' parts beside a kept checkpoint.
 * Parts of a later generation stay: a job that was restored from an older checkpoint may be writing
 * them now. Whole folders where nothing stays, else files; sorted.
 *
 * @param files all under the job's checkpoints
 * @param kept committed and not pruned
 * @param named steps that stay whatever was pruned: another job begins there
 */
export function decideOrphans(
  files: readonly string[],
  kept: readonly Kept[],
  named: ReadonlySet<number> = none,
): readonly string[] {
  const newest = kept.reduce<Kept | undefined>(
    (best, one) => (best === undefined || isNewer(one, best) ? one : best),
    undefined,
  );
  if (newest === undefined) return [];
  const byFolder = new Map<string, { readonly file: string; readonly isOrphan: boolean }[]>();
  for (const file of files) {
    const { folder, step, generation } = filePattern.exec(file)?.groups ?? {};
    if (folder === undefined || named.has(Number(step))) continue; // Not ours: left alone.
    const isOrphan = isOrphanFile(Number(step), generation, kept, newest);
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
  step: number,
  generation: string | undefined,
  kept: readonly Kept[],
  newest: Kept,
): boolean {
  const own = kept.find((checkpoint) => checkpoint.step === step);
  if (own !== undefined) return generation !== undefined && Number(generation) < own.generation;
  return step < newest.step && Number(generation ?? 0) <= newest.generation;
}
