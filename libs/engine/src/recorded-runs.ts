/**
 * The shards of a recorded step: one by one, or several at once where their bits stay the same, which
 * is seen on this machine before it is relied on.
 */
import { fillUniform } from "@coxswain/domain";
import type { Binding } from "./binding.ts";
import { purposes } from "./deterministic.ts";
import type { FunctionRun } from "./graph-function.ts";
import { programError } from "./load-program.ts";
import { copyOf, type ParameterTensors } from "./parameter-tensors.ts";
import type { Layout, ShardRuns, ShardsInput } from "./port.ts";
import type { Shaped, ShardPlan } from "./shard-plan.ts";

export interface RecordedRunsParts {
  readonly binding: Binding;
  readonly plan: ShardPlan;
  readonly layout: Layout;
  readonly parameters: ParameterTensors;
  readonly seed: number;
  readonly step: FunctionRun;
}

/** What runs may keep before they are added up. */
const keptBytesMax = 32 * 2 ** 20;
/** About the size of trained weights. */
const probeScale = 0.1;

/**
 * What is known of computing so many shards at once. That it was asked for is all there is at first:
 * the look takes as long as two updates, and whoever asks for the first time may be in a hurry.
 */
type Knowledge = "asked for" | "same bits" | "other bits";

/** Runs what reads the data of this shard. */
type ReadAt = <Result>(shard: number, read: () => Result) => Result;

export class RecordedRuns implements ShardRuns {
  readonly #parts: RecordedRunsParts;
  readonly #known = new Map<number, Knowledge>();
  readonly #gathered: Shaped[] = [];
  /** What one shard keeps. */
  #shardBytes: number | undefined;

  constructor(parts: RecordedRunsParts) {
    this.#parts = parts;
  }

  get countMax(): number {
    return Math.max(1, Math.floor(keptBytesMax / (this.#shardBytes ?? keptBytesMax)));
  }

  atOnce(count: number): number {
    const known = this.#known.get(count);
    if (!this.#parts.step.hasShardAxis || count === 1 || known === "other bits") return 1;
    if (known !== undefined) return count;
    this.#known.set(count, "asked for");
    return 1;
  }

  start(input: ShardsInput, at: ReadAt = (_, read) => read()): number[] {
    const { step, shard, count, parameters } = input;
    try {
      if (count === 1) return [at(shard, () => this.#alone(input))];
      const batch = this.#gather(input, at);
      if (this.#known.get(count) === "asked for") this.#known.set(count, this.#look(input, batch));
      const ids = this.#parts.parameters.of(parameters, step);
      return this.#known.get(count) === "same bits"
        ? [this.#together(input, batch, ids)]
        : this.#oneByOne(input, batch, ids);
    } catch (cause) {
      throw programError(`step ${step}, shard ${shard}`, cause);
    }
  }

  sum(runs: readonly number[], out: Float32Array): void {
    this.#parts.plan.clearGaps(out);
    this.#parts.step.sum(runs, this.#parts.plan.views(out));
  }

  drop(runs: readonly number[]): void {
    this.#parts.binding.dropRuns(runs);
  }

  /** What is read is used before the next is: nothing is copied. */
  #alone(input: ShardsInput): number {
    const { plan, parameters } = this.#parts;
    const batch = plan.shaped(plan.batch(input), plan.samples);
    const ofOne = batch.map(({ values, shape }) => ({ values, shape: [1, ...shape] }));
    return this.#one(input, ofOne, parameters.of(input.parameters, input.step));
  }

  /** The shards' inputs and labels, one behind the other; until the next call. */
  #gather({ step, shard, count }: ShardsInput, at: ReadAt): readonly Shaped[] {
    const { plan } = this.#parts;
    for (let i = 0; i < count; i += 1)
      at(shard + i, () => {
        const batch = plan.shaped(plan.batch({ step, shard: shard + i }), plan.samples);
        for (const [part, { values, shape }] of batch.entries()) {
          const length = count * values.length;
          if (this.#gathered[part]?.values.length !== length)
            this.#gathered[part] = { values: new Float32Array(length), shape: [count, ...shape] };
          this.#gathered[part].values.set(values, i * values.length);
        }
      });
    return this.#gathered;
  }

  #oneByOne(
    { step, shard, count }: ShardsInput,
    batch: readonly Shaped[],
    parameters: readonly number[],
  ): number[] {
    return Array.from({ length: count }, (_, i) => {
      const part = batch.map(({ values, shape: [, ...shape] }) => {
        const length = values.length / count;
        return { values: values.subarray(i * length, (i + 1) * length), shape: [1, ...shape] };
      });
      return this.#one({ step, shard: shard + i }, part, parameters);
    });
  }

  #one(
    place: Pick<ShardsInput, "step" | "shard">,
    batch: readonly Shaped[],
    parameters: readonly number[],
  ): number {
    const run = this.#together({ ...place, count: 1 }, batch, parameters);
    this.#shardBytes ??= this.#parts.binding.bytesOfRun(run);
    return run;
  }

  #together(
    { step, shard, count }: Pick<ShardsInput, "step" | "shard" | "count">,
    batch: readonly Shaped[],
    parameters: readonly number[],
  ): number {
    const { binding, plan, step: made } = this.#parts;
    const places = Array.from({ length: count }, (_, i) =>
      plan.randomPlace({ step, shard: shard + i }),
    );
    const ids = batch.map(({ values, shape }) =>
      copyOf(binding, { values, shape: made.hasShardAxis ? shape : shape.slice(1) }),
    );
    try {
      return made.start([...ids, ...parameters], places);
    } finally {
      for (const id of ids) binding.deleteTensor(id);
    }
  }

  /** At made-up parameters: those of a job may all be 0, and 0 says nothing of how it was added up. */
  #look(input: ShardsInput, batch: readonly Shaped[]): Knowledge {
    const { layout, parameters, seed } = this.#parts;
    const ids = parameters.of(madeUpParameters(layout, seed));
    const bitsOf = (runs: readonly number[]) => {
      const out = new Float32Array(layout.vectorFloats);
      this.sum(runs, out);
      return Buffer.from(out.buffer);
    };
    const bits = bitsOf(this.#oneByOne(input, batch, ids));
    try {
      return bits.equals(bitsOf([this.#together(input, batch, ids)])) ? "same bits" : "other bits";
    } catch {
      return "other bits"; // TensorFlow refuses it: one by one is always right.
    } finally {
      parameters.letGo();
    }
  }
}

export function madeUpParameters({ parameterFloats }: Layout, seed: number): Float32Array {
  const parameters = new Float32Array(parameterFloats);
  fillUniform({ seed, purpose: purposes.probe }, parameters);
  return parameters.map((value) => probeScale * (value - 0.5));
}
