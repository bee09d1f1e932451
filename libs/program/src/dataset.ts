/** Data that fits in memory: samples by index. */

export interface Batch {
  /** Shape [samples, ...inputShape]. */
  readonly inputs: Float32Array;
  /** Shape [samples, ...labelShape]. */
  readonly labels: Float32Array;
}

export interface Split {
  readonly samples: number;
  /** Gathers samples by index, in the order given. */
  batch(indices: readonly number[]): Batch;
}

export interface Dataset {
  /** Shape of one input, for example [28, 28, 1]. */
  readonly inputShape: readonly number[];
  /** Shape of one label, for example [10] for one-hot classes. */
  readonly labelShape: readonly number[];
  readonly train: Split;
  /** Held out: never trained on. */
  readonly test: Split;
}
