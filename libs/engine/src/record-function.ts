/** A computation of a program as a function of the native engine, checked against the run it was recorded from. */

import { tf } from "@coxswain/program";
import type { RecordedBackend } from "./binding.ts";
import { withDeterministicRandom } from "./deterministic.ts";
import { FunctionRun, functionOf, type GraphFunction } from "./graph-function.ts";
import { NotReplayable, type Recordable, record, requireEqual } from "./record.ts";

/**
 * Records the same computation on two batches; both must be equal.
 * @throws NotReplayable with the reason
 */
export type RecordFunction = (first: Recordable, second: Recordable) => GraphFunction;

/** Graph and operators may round differently; more than this is another computation. */
const relativeErrorMax = 1e-3;

export function buildRecorder(backend: RecordedBackend): RecordFunction {
  return (first, second) => {
    const recording = record(backend, first);
    requireEqual(recording, record(backend, second));
    const made = functionOf(backend.binding, recording);
    check(backend, made, first);
    return made;
  };
}

/** @throws NotReplayable when the function does not compute what was recorded */
function check(
  backend: RecordedBackend,
  made: GraphFunction,
  { inputs, run, place }: Recordable,
): void {
  let expected: Float32Array[] = [];
  tf.tidy(() => {
    expected = withDeterministicRandom(place, run).map(
      (tensor) => tensor.dataSync() as Float32Array,
    );
  });
  const actual = expected.map(({ length }) => new Float32Array(length));
  try {
    new FunctionRun(backend.binding, made).run(backend.getInputTensorIds(inputs), place, actual);
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new NotReplayable(`TensorFlow makes no function of it: ${words.split("\n", 1)[0]}`);
  }
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
