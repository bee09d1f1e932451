/** The tensors of the parameters: where TensorFlow lets them, they lie in the caller's vector. */
import type { Binding } from "./binding.ts";
import type { Shaped, ShardPlan } from "./shard-plan.ts";

export class ParameterTensors {
  readonly #binding: Binding;
  readonly #plan: Pick<ShardPlan, "parameters">;
  #ids: readonly number[] = [];
  /** Memory that the tensors lie in: what is written there needs no loading. */
  #aliased: Float32Array | undefined;
  #step: number | undefined;

  constructor(binding: Binding, plan: Pick<ShardPlan, "parameters">) {
    this.#binding = binding;
    this.#plan = plan;
  }

  /**
   * Ids of the tensors that hold these parameters.
   * @param step whose parameters they are: those of one step never change
   */
  of(vector: Float32Array, step?: number): readonly number[] {
    const isThere =
      (step !== undefined && step === this.#step) ||
      (vector.buffer === this.#aliased?.buffer && vector.byteOffset === this.#aliased.byteOffset);
    if (!isThere) this.#load(vector);
    this.#step = step;
    return this.#ids;
  }

  #load(vector: Float32Array): void {
    this.letGo();
    const parameters = this.#plan.parameters(vector);
    const { TF_FLOAT: float } = this.#binding;
    const ids = parameters.map(({ values, shape }) =>
      this.#binding.aliasTensor(shape, float, values),
    );
    this.#aliased = ids.every((id) => id >= 0) ? vector : undefined;
    this.#ids = ids.map((id, i) => (id >= 0 ? id : copyOf(this.#binding, parameters[i]!)));
  }

  letGo(): void {
    for (const id of this.#ids) this.#binding.deleteTensor(id);
    this.#ids = [];
    this.#aliased = undefined;
    this.#step = undefined;
  }
}

/** Gives the id of a new tensor. */
export function copyOf(binding: Binding, { values, shape }: Shaped): number {
  return binding.createTensor(shape, binding.TF_FLOAT, values);
}
