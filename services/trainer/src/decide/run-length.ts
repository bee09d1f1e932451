/** How many updates the compute thread may commit one after the other by itself. */
import type { Stride } from "@coxswain/domain";

export interface RunInput {
  /** The first step of the first update. */
  readonly step: number;
  /** Steps of the job. */
  readonly steps: number;
  /** What an update takes, milliseconds; undefined: nothing is known yet. */
  readonly updateMs: number | undefined;
  /** Updates at most. */
  readonly max: number;
  readonly strideAt: (step: number) => Stride;
  /** The update of this step is not to be begun without a look at what has happened meanwhile. */
  readonly mustLookBefore: (step: number) => boolean;
  /** Something is to be done between these two updates, by the first step of each. */
  readonly mustStopBetween: (step: number, next: number) => boolean;
}

/** So long the control thread leaves the compute thread alone, unless something happens. */
const runMs = 100;

/** 1: the control thread commits. */
export function runLengthOf(input: RunInput): number {
  const { step, steps, updateMs, strideAt, mustLookBefore, mustStopBetween } = input;
  if (updateMs === undefined) return 1;
  const max = Math.min(input.max, Math.floor(runMs / Math.max(updateMs, runMs / input.max)));
  const stride = strideAt(step);
  let count = 0;
  for (let at = step; count < max; ) {
    const next = at + stride.steps;
    count += 1;
    if (next >= steps || mustStopBetween(at, next) || mustLookBefore(next)) break;
    const following = strideAt(next);
    const isLike =
      following.steps === stride.steps &&
      following.learningRateFactor === stride.learningRateFactor;
    if (!isLike) break;
    at = next;
  }
  return Math.max(1, count);
}
