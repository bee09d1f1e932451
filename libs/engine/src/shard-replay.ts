/** Replays of a shard's step on the native engine, checked against the run that they were recorded from. */
import type { Place } from "@coxswain/domain";
import type { Binding, RecordedBackend } from "./binding.ts";
import { drawAt, fillUniformOf, withDeterministicRandom } from "./deterministic.ts";
import { NotReplayable, type StepOf } from "./record.ts";
import { buildReplay, type Replay } from "./replay.ts";

export interface Shaped {
  readonly values: Float32Array;
  readonly shape: readonly number[];
}

/** Inputs, then labels. */
export type ShapedBatch = readonly Shaped[];

export interface ShardReplay {
  /** Of the graph: equal for equal steps. */
  readonly hash: string;
  /** The parameters for the runs that follow, those of one step; the memory must stay. */
  load(parameters: readonly Shaped[]): void;
  /** @param place whose random numbers the step draws */
  run(batch: ShapedBatch, place: Place, into: readonly Float32Array[]): void;
}

/** Records a step on two batches; undefined when it has to run operator by operator. */
export type Recorder = (first: StepOf, second: StepOf) => ShardReplay | undefined;

/** Graph and operators may round differently; more than this is another computation. */
const relativeErrorMax = 1e-3;

export function buildRecorder(
  backend: RecordedBackend,
  onFallback: (reason: string) => void,
): Recorder {
  return (first, second) => {
    try {
      const replay = buildReplay(backend, first, second);
      check(backend, replay, first);
      return new NativeReplay(backend.binding, replay);
    } catch (error) {
      if (!(error instanceof NotReplayable)) throw error;
      onFallback(error.message);
      return undefined;
    }
  };
}

class NativeReplay implements ShardReplay {
  readonly hash: string;
  readonly #binding: Binding;
  readonly #replay: Replay;
  #parameterIds: number[] = [];
  /** Memory that the parameters' tensors lie in: what is written there needs no loading. */
  #aliased: Float32Array | undefined;

  constructor(binding: Binding, replay: Replay) {
    this.#binding = binding;
    this.#replay = replay;
    this.hash = replay.hash;
  }

  load(parameters: readonly Shaped[]): void {
    const first = parameters[0]?.values;
    if (first !== undefined && first.buffer === this.#aliased?.buffer) {
      if (first.byteOffset === this.#aliased.byteOffset) return;
    }
    for (const id of this.#parameterIds) this.#binding.deleteTensor(id);
    const ids = parameters.map((shaped) => this.#alias(shaped));
    const isAliased = ids.every((id) => id >= 0);
    this.#aliased = isAliased ? first : undefined;
    this.#parameterIds = ids.map((id, i) => (id >= 0 ? id : this.#copy(parameters[i]!)));
  }

  #alias({ values, shape }: Shaped): number {
    return this.#binding.aliasTensor(shape, this.#binding.TF_FLOAT, values);
  }

  #copy({ values, shape }: Shaped): number {
    return this.#binding.createTensor(shape, this.#binding.TF_FLOAT, values);
  }

  run(batch: ShapedBatch, place: Place, into: readonly Float32Array[]): void {
    const ids = batch.map((shaped) => this.#copy(shaped));
    const randomIds = randomTensors(this.#binding, this.#replay, place);
    try {
      this.#replay.run([...ids, ...this.#parameterIds, ...randomIds], into);
    } finally {
      for (const id of [...ids, ...randomIds]) this.#binding.deleteTensor(id);
    }
  }
}

function randomTensors(binding: Binding, { randoms }: Replay, place: Place): number[] {
  return randoms.map(({ draw, shape }) => {
    const values = new Float32Array(shape.reduce((product, length) => product * length, 1));
    fillUniformOf(drawAt(place, draw), values);
    return binding.createTensor(shape, binding.TF_FLOAT, values);
  });
}

/** @throws NotReplayable when the replay does not compute what the step computed */
function check(backend: RecordedBackend, replay: Replay, { inputs, step, place }: StepOf): void {
  const outputs = withDeterministicRandom(place, step);
  const expected = outputs.map((tensor) => tensor.dataSync() as Float32Array);
  const actual = expected.map(({ length }) => new Float32Array(length));
  const randomIds = randomTensors(backend.binding, replay, place);
  replay.run([...backend.getInputTensorIds(inputs), ...randomIds], actual);
  for (const id of randomIds) backend.binding.deleteTensor(id);
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
