/** Our addon, as TensorFlow.js's back end and the recorder see it. */

export interface Attribute {
  readonly name: string;
  /** TF_AttrType */
  readonly type: number;
  readonly value: unknown;
}

export interface OutputFacts {
  readonly id: number;
  readonly shape: readonly number[];
  readonly dtype: number;
}

export interface Binding {
  /**
   * Opens TensorFlow's libraries, in this order, with these variables in the environment (name, value,
   * name, value, …), and makes the context by the bytes of a ConfigProto; the first call of the process
   * counts. Gives TensorFlow's version.
   */
  init(libraries: readonly string[], variables: readonly string[], config: Uint8Array): string;
  createTensor(shape: readonly number[], dtype: number, values: ArrayBufferView): number;
  /**
   * A tensor that lies in the caller's memory, which must outlive it; -1 where TensorFlow would copy
   * it, since it does not start on 64 bytes.
   */
  aliasTensor(shape: readonly number[], dtype: number, values: ArrayBufferView): number;
  deleteTensor(id: number): void;
  tensorDataSync(id: number): Float32Array | Int32Array | Uint8Array | BigInt64Array;
  executeOp(
    op: string,
    attributes: readonly Attribute[],
    inputs: readonly number[],
    outputs: number,
  ): OutputFacts[];
  /**
   * On the calling thread. Gives the number of the run, whose results are kept.
   * @param shards that lie along the first axis of inputs and results; with one there is no such axis
   */
  runFunction(name: string, inputs: readonly number[], shards: number): number;
  /**
   * Results i of these runs, of a power of two of shards in all, added up in the canonical tree, go
   * straight into view i; the runs are forgotten.
   */
  sumRuns(runs: readonly number[], into: readonly ArrayBufferView[]): void;
  dropRuns(runs: readonly number[]): void;
  /** Bytes that a run keeps. */
  bytesOfRun(run: number): number;
  /**
   * A name that is known changes nothing; gives whether it was new.
   * @param results "node:k", or "node:k * node:k": a product of matrices, the first transposed
   * @param config bytes of a ConfigProto
   * @param device where operators are that say nothing else, or ""
   * @param isXla XLA compiles it as a whole when it is first run
   */
  defineFunction(
    name: string,
    graph: Uint8Array,
    inputs: readonly string[],
    results: readonly string[],
    config: Uint8Array,
    device: string,
    isXla: boolean,
  ): boolean;
  /** Names of TensorFlow's devices; those of GPUs hold `device:GPU:`. */
  devices(): string[];
  /** Gives memory that was freed back to the system, and pages of the library that may be read again. */
  trim(): void;

  opDef(op: string): Uint8Array;
  readonly TF_FLOAT: number;
  readonly TF_INT32: number;
  readonly TF_BOOL: number;
  readonly TF_INT64: number;
  readonly TF_ATTR_STRING: number;
  readonly TF_ATTR_INT: number;
  readonly TF_ATTR_TYPE: number;
  readonly TF_ATTR_SHAPE: number;
}

/** The little of tfjs-node's back end that recording needs. */
export interface RecordedBackend {
  binding: Binding;
  getInputTensorIds(tensors: readonly unknown[]): number[];
}
