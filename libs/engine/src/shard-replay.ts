/** Replays of a shard's step on the native engine, checked against the run that they were recorded from. */
import type { Tensor } from "@coxswain/program";
import type { Binding, RecordedBackend } from "./binding.ts";
import { NotReplayable } from "./record.ts";
import { buildReplay, type Replay, type StepOf } from "./replay.ts";

/** Inputs, then labels. */
export type ShapedBatch = readonly {
  readonly values: Float32Array;
  readonly shape: readonly number[];
}[];

export interface ShardReplay {
  /** Of the graph: equal for equal steps. */
  readonly hash: string;
  run(batch: ShapedBatch, into: readonly Float32Array[]): void;
}

/** Records a step on two batches; undefined when it has to run operator by operator. */
export type Recorder = (
  first: StepOf,
  second: StepOf,
  parameters: readonly Tensor[],
) => ShardReplay | undefined;

/** Graph and operators may round differently; more than this is another computation. */
const relativeErrorMax = 1e-3;

export function buildRecorder(
  backend: RecordedBackend,
  onFallback: (reason: string) => void,
): Recorder {
  return (first, second, parameters) => {
    try {
      const replay = buildReplay(backend, first, second);
      check(backend, replay, first);
      return shardReplay(backend, replay, parameters);
    } catch (error) {
      if (!(error instanceof NotReplayable)) throw error;
      onFallback(error.message);
      return undefined;
    }
  };
}

function shardReplay(
  backend: RecordedBackend,
  replay: Replay,
  parameters: readonly Tensor[],
): ShardReplay {
  const { binding } = backend;
  return {
    hash: replay.hash,
    run: (batch, into) => {
      const ids = batch.map(({ values, shape }) => create(binding, values, shape));
      // The variables' tensors are new ones after each update.
      replay.run([...ids, ...backend.getInputTensorIds(parameters)], into);
      for (const id of ids) binding.deleteTensor(id);
    },
  };
}

function create(binding: Binding, values: Float32Array, shape: readonly number[]): number {
  return binding.createTensor(shape, binding.TF_FLOAT, values);
}

/** @throws NotReplayable when the replay does not compute what the step computed */
function check(backend: RecordedBackend, replay: Replay, { inputs, step }: StepOf): void {
  const expected = step().map((tensor) => tensor.dataSync() as Float32Array);
  const actual = expected.map(({ length }) => new Float32Array(length));
  replay.run(backend.getInputTensorIds(inputs), actual);
  for (const [index, values] of expected.entries()) {
    const scale = values.reduce((max, value) => Math.max(max, Math.abs(value)), 1e-6);
    const error = values.reduce(
      (max, value, i) => Math.max(max, Math.abs(value - actual[index]![i]!)),
      0,
    );
    if (!(error <= relativeErrorMax * scale))
      throw new NotReplayable(`output ${index} of the replay differs by ${error}`);
  }
}
