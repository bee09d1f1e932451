/** Data: samples by index, in memory or read from files. */

export interface Batch {
  /** Shape [samples, ...inputShape]. */
  readonly inputs: Float32Array;
  /** Shape [samples, ...labelShape]. */
  readonly labels: Float32Array;
}

export interface Split {
  readonly samples: number;
  /**
   * Gathers samples by index, in the order given.
   * @param into where they may be put, and given back, so that no memory is taken; holds other numbers
   */
  batch(indices: readonly number[], into?: Batch): Batch;
}

export interface Shapes {
  /** Shape of one input, for example [28, 28, 1]. */
  readonly inputShape: readonly number[];
  /** Shape of one label, for example [10] for one-hot classes. */
  readonly labelShape: readonly number[];
}

/** Data that fits in memory. */
export interface Dataset extends Shapes {
  readonly train: Split;
  /** Held out: never trained on. */
  readonly test: Split;
}

export interface StreamedSplit {
  readonly samples: number;
  /** Reads samples by index, in the order given. Several reads may be on their way at once. */
  read(indices: readonly number[]): Promise<Batch>;
}

/** Data that may be larger than memory: read in the background, a few steps ahead. */
export interface StreamedDataset extends Shapes {
  readonly train: StreamedSplit;
  readonly test: StreamedSplit;
}

export function isInMemory(data: Dataset | StreamedDataset): data is Dataset {
  return "batch" in data.train;
}
