/** Which checkpoints go: all but the newest `keep` and the final one. */
import type { JobCheckpoint } from "@coxswain/domain";

export function decideRetention(
  checkpoints: readonly JobCheckpoint[],
  keep: number,
): readonly JobCheckpoint[] {
  const newestFirst = checkpoints.toSorted((a, b) => b.step - a.step);
  return newestFirst.slice(keep).filter(({ final }) => !final);
}
