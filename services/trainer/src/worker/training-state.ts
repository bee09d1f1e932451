/** Parameters and optimizer slots, as the compute thread changes them. */
import { AppError } from "@coxswain/domain";
import { type CompiledProgram, takeState, tensorRanges } from "@coxswain/engine";
import type { Vectors } from "../exchange/memory.ts";
import { buildUpdate, type UpdateKernel } from "../exchange/update-kernel.ts";
import type { ComputeUpdate } from "./compute-messages.ts";
import type { NoiseProbe } from "./noise-probe.ts";
import type { Snapshots } from "./snapshots.ts";

export interface TrainingStateParts {
  readonly program: CompiledProgram;
  readonly vectors: Vectors;
  readonly memory: WebAssembly.Memory;
  readonly snapshots: Pick<Snapshots, "settle">;
}

export class TrainingState {
  readonly #parts: TrainingStateParts;
  readonly #kernel: UpdateKernel | undefined;

  constructor(parts: TrainingStateParts) {
    this.#parts = parts;
    const { rule } = parts.program;
    this.#kernel = rule && buildUpdate(parts.memory, rule.update);
  }

  /** @param parameters what the seed gives; absent: the program says it */
  initialize(parameters: Float32Array | undefined): void {
    const { program, vectors, snapshots } = this.#parts;
    snapshots.settle();
    if (parameters === undefined) program.initialize(vectors.parameters);
    else vectors.parameters.set(parameters);
    for (const slot of vectors.slots) slot.fill(0);
  }

  /** Overwrites floats of the state (the parameters, then each slot) from `from` on. */
  load({ from, floats }: { readonly from: number; readonly floats: Float32Array }): void {
    const { parameters, slots } = this.#parts.vectors;
    this.#parts.snapshots.settle();
    for (const [index, vector] of [parameters, ...slots].entries()) {
      const first = index * parameters.length;
      const begin = Math.max(from, first);
      const end = Math.min(from + floats.length, first + parameters.length);
      if (begin < end) vector.set(floats.subarray(begin - from, end - from), begin - first);
    }
  }

  /**
   * Applies the reduced vector of an update.
   *
   * @returns what its gradient shows of the noise, where it is one that is measured
   */
  apply(
    { step, turn, learningRateFactor: rateFactor }: Omit<ComputeUpdate, "isAwaited">,
    noise: NoiseProbe,
  ): ReturnType<NoiseProbe["whole"]> {
    const { program, vectors, snapshots } = this.#parts;
    snapshots.settle();
    const { parameters, slots, reduced } = vectors;
    const whole = reduced[turn];
    const gradient = whole.subarray(0, parameters.length);
    const { rule, layout } = program;
    const tensors = tensorRanges(layout);
    const sample = noise.whole(step, gradient.subarray(0, tensors.at(-1)?.to));
    if (rateFactor !== 1 && rule === undefined)
      throw new AppError("program-invalid", "the optimizer is no rule: its rate cannot be scaled");
    if (this.#kernel === undefined || rule === undefined)
      program.update({ step, rateFactor, parameters, slots, gradient, tensors });
    else
      this.#kernel(
        { parameters, gradient, slots },
        { scalars: rule.scalars(step, rateFactor), tensors },
      );
    takeState(layout, parameters, whole);
    return sample;
  }
}
