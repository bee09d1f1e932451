/** The gradients of shards for an update that takes one step or several. */
import type { CompiledProgram, ShardsInput } from "@coxswain/engine";
import type { Feed } from "../feed/feed.ts";
import type { ComputeOrder } from "./compute-messages.ts";

export class ShardGradient {
  readonly #program: Pick<CompiledProgram, "gradient" | "shardRuns">;
  readonly #feed: Pick<Feed, "at">;
  /** Of an update's further steps, one at a time. */
  #further: Float32Array | undefined;

  constructor(program: Pick<CompiledProgram, "gradient" | "shardRuns">, feed: Pick<Feed, "at">) {
    this.#program = program;
    this.#feed = feed;
  }

  /** The mean over the steps of the update, added up in their order: the same bits wherever it is made. */
  derive(
    { step, steps }: Pick<ComputeOrder, "step" | "steps">,
    shard: number,
    parameters: Float32Array,
    into: Float32Array,
  ): void {
    this.#one({ step, shard }, parameters, into);
    if (steps === 1) return;
    this.#further ??= new Float32Array(into.length);
    const further = this.#further;
    for (let more = 1; more < steps; more += 1) {
      this.#one({ step: step + more, shard }, parameters, further);
      for (let i = 0; i < into.length; i += 1) into[i]! += further[i]!;
    }
    const share = Math.fround(1 / steps);
    for (let i = 0; i < into.length; i += 1) into[i]! *= share;
  }

  /** How many neighbours of an update's shards can be added up while they are computed; else 1. */
  jointMax({ steps }: Pick<ComputeOrder, "steps">): number {
    return steps === 1 ? (this.#program.shardRuns?.countMax ?? 1) : 1;
  }

  /** How many of so many such neighbours are best begun at once. */
  atOnce(count: number): number {
    return this.#program.shardRuns!.atOnce(count);
  }

  /** Begins such shards; gives numbers for `sum`. */
  start(shards: Omit<ShardsInput, "parameters">, parameters: Float32Array): number[] {
    const { step } = shards;
    return this.#program.shardRuns!.start({ ...shards, parameters }, (shard, read) =>
      this.#feed.at({ step, shard }, read),
    );
  }

  /** Neighbours in order, a power of two: the bits of their vectors added up in the tree. */
  sum(runs: readonly number[], into: Float32Array): void {
    this.#program.shardRuns!.sum(runs, into);
  }

  drop(runs: readonly number[]): void {
    this.#program.shardRuns!.drop(runs);
  }

  #one(
    place: { readonly step: number; readonly shard: number },
    parameters: Float32Array,
    into: Float32Array,
  ): void {
    this.#feed.at(place, () => this.#program.gradient({ ...place, parameters }, into));
  }
}
