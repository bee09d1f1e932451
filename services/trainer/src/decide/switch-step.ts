/**
 * From which step a planned change of membership is in force. It is agreed on while everybody goes on
 * computing, so it lies so far ahead that the agreement is there first.
 */
export interface SwitchInput {
  /** The proposer's next step to commit; others may be one update ahead. */
  readonly step: number;
  /** The first step of the next update. */
  readonly after: (step: number) => number;
  /** What an update takes, milliseconds; undefined: nothing is known yet. */
  readonly stepMs: number | undefined;
  /** All steps of the job. */
  readonly steps: number;
}

/** Three round trips, one of them to the record, on a busy machine. */
const leadMs = 100;
const aheadMin = 2;
const aheadMax = 256;

/** Undefined: the end is too near, or nobody knows how long an update takes. */
export function switchStepOf({ step, after, stepMs, steps }: SwitchInput): number | undefined {
  if (stepMs === undefined) return undefined;
  const ahead = Math.ceil(leadMs / Math.max(stepMs, leadMs / aheadMax));
  let at = step;
  for (let update = 0; update < Math.max(aheadMin, ahead) && at < steps; update += 1)
    at = after(at);
  return at < steps ? at : undefined;
}
