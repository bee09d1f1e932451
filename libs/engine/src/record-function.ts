/** A computation of a program as a function of the native engine, checked against the run it was recorded from. */
import { tf } from "@coxswain/program";
import type { RecordedBackend } from "./binding.ts";
import {
  FunctionRun,
  functionOf,
  functionOfShards,
  type GraphFunction,
  neededOps,
} from "./graph-function.ts";
import { NotReplayable, type Recordable, type Recording, record } from "./record.ts";
import { xlaRefusal } from "./xla-refusal.ts";

/**
 * Records the same computation on two batches; both must be equal.
 * @param shardInputs so many of the first inputs belong to a shard: the function runs any number of
 * shards at once, where its operators let it
 * @throws NotReplayable with the reason
 */
export type RecordFunction = (
  first: Recordable,
  second: Recordable,
  shardInputs?: number,
) => GraphFunction;

/** Graph and operators may round differently; more than this is another computation. */
const relativeErrorMax = 1e-3;
/** What rounding leaves of a gradient that is 0, such as that of a bias before a normalization. */
const zeroMax = 1e-6;
/** XLA adds in another order: what it leaves is judged by the greatest value of all outputs. */
const xlaZeroShare = 1e-2;

/** @param isXla XLA compiles what is recorded, or it is refused */
export function buildRecorder(backend: RecordedBackend, isXla = false): RecordFunction {
  const { binding } = backend;
  /** @throws Error of TensorFlow, NotReplayable */
  const checked = (made: GraphFunction, first: Recordable, recording: Recording) => {
    check(
      backend,
      new FunctionRun(binding, made, isXla),
      { ...first, results: recording.results },
      isXla,
    );
    return made;
  };
  /** Undefined where an operator is in the way, or a rule does not fit what the program does. */
  const forShards = (first: Recordable, recording: Recording, shardInputs: number) => {
    const made = functionOfShards(binding, recording, shardInputs);
    if (made === undefined) return undefined;
    const inputs = first.inputs.map((tensor, index) =>
      index < shardInputs ? tf.expandDims(tensor as never) : tensor,
    );
    try {
      return checked(made, { ...first, inputs }, recording);
    } catch {
      return undefined; // One shard at a time always fits.
    }
  };
  return (first, second, shardInputs = 0) => {
    const recording = record(backend, first);
    record(backend, second, recording);
    try {
      // XLA compiles for lengths that are known.
      const made = shardInputs > 0 && !isXla ? forShards(first, recording, shardInputs) : undefined;
      return made ?? checked(functionOf(binding, recording), first, recording);
    } catch (error) {
      if (error instanceof NotReplayable) throw error;
      if (isXla) throw xlaRefusal(error, neededOps(recording, recording.outputs));
      const words = error instanceof Error ? error.message : String(error);
      throw new NotReplayable(`TensorFlow makes no function of it: ${words.split("\n", 1)[0]}`);
    }
  };
}

/** @throws NotReplayable when the function does not compute what was recorded */
function check(
  backend: RecordedBackend,
  made: FunctionRun,
  {
    inputs,
    place,
    results: expected,
  }: Pick<Recordable, "inputs" | "place"> & Pick<Recording, "results">,
  isXla: boolean,
): void {
  const actual = expected.map(({ length }) => new Float32Array(length));
  made.run(backend.getInputTensorIds(inputs), place, actual);
  const greatestOf = (values: Float32Array) =>
    values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  const least = Math.max(zeroMax, isXla ? xlaZeroShare * Math.max(...expected.map(greatestOf)) : 0);
  for (const [index, values] of expected.entries()) {
    const scale = Math.max(least, greatestOf(values));
    const error = values.reduce(
      (max, value, i) => Math.max(max, Math.abs(value - actual[index]![i]!)),
      0,
    );
    if (!(error <= relativeErrorMax * scale))
      throw new NotReplayable(`output ${index} of the replay differs by ${error}`);
  }
}
