/**
 * How many batches an update takes at once, over the course of a job.
 *
 * A step is one batch of `spec.batchSize` samples, and keeps its number, its samples and its place in
 * the order of additions whatever the batch is grown to. An update of a batch k times as large takes
 * the k steps `s <= step < s + k`: each shard is summed up over them, in their order, before the
 * shards are. So the place in the data stays a step number, and each sample of each epoch is trained
 * on once, whatever is decided and when.
 */
export interface BatchChange {
  /** The first step that it holds for. */
  readonly fromStep: number;
  /** Samples of an update, a multiple of the job's batch. */
  readonly batchSize: number;
  /** What the program's learning rate is multiplied with. */
  readonly learningRateFactor: number;
  /** Sequence of the fact that asked for it; 0: the job file. */
  readonly decision: number;
}

/** Those of a job file. */
export function givenBatches(
  schedule: readonly Omit<BatchChange, "decision">[] = [],
): readonly BatchChange[] {
  return schedule.map((change) => ({ ...change, decision: 0 }));
}

export interface BatchCourse {
  /** Samples of a step. */
  readonly batchSize: number;
  /** Steps of the job. */
  readonly steps: number;
  /** Ascending; before the first one an update takes one step. */
  readonly changes: readonly BatchChange[];
}

export interface Stride {
  /** Steps that the update takes. */
  readonly steps: number;
  readonly learningRateFactor: number;
}

/**
 * The update that begins at `step`. The last one before a change, or before the end, takes what is
 * left, with a learning rate that much nearer to the program's own.
 */
export function strideAt({ batchSize, steps, changes }: BatchCourse, step: number): Stride {
  const next = changes.find(({ fromStep }) => fromStep > step);
  const present = changes.findLast(({ fromStep }) => fromStep <= step);
  const whole = present === undefined ? 1 : present.batchSize / batchSize;
  const left = Math.min(steps, next?.fromStep ?? steps) - step;
  if (present === undefined || whole === 1)
    return { steps: 1, learningRateFactor: present?.learningRateFactor ?? 1 };
  const taken = Math.max(1, Math.min(whole, left));
  const share = (taken - 1) / (whole - 1);
  const learningRateFactor =
    taken === whole ? present.learningRateFactor : 1 + share * (present.learningRateFactor - 1);
  return { steps: taken, learningRateFactor };
}

/** The first step of the next update. */
export function afterUpdate(course: BatchCourse, step: number): number {
  return step + strideAt(course, step).steps;
}

/** Updates before the one that begins at `step`. */
export function updatesBefore({ batchSize, changes }: BatchCourse, step: number): number {
  let count = 0;
  let [from, stride] = [0, 1];
  for (const change of changes) {
    if (change.fromStep >= step) break;
    count += Math.ceil((change.fromStep - from) / stride);
    [from, stride] = [change.fromStep, change.batchSize / batchSize];
  }
  return count + Math.ceil((step - from) / stride);
}

/** What holds once `wanted` begins at `fromStep`: what was to come later is given up. */
export function withChange(
  changes: readonly BatchChange[],
  fromStep: number,
  wanted: Omit<BatchChange, "fromStep">,
): readonly BatchChange[] {
  return [...changes.filter((change) => change.fromStep < fromStep), { fromStep, ...wanted }];
}
