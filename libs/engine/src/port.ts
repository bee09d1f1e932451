/**
 * The engine port: what runs a compiled program. Behind it stand TensorFlow's native library, with
 * TensorFlow.js or, for a program that is data, without it, and the wasm back end.
 *
 * Everything that crosses the port is numbers: flat float32 vectors in memory that the caller owns
 * and may share between threads. So a program can be shipped as data, and another runtime can stand
 * behind the same port. All calls but `compile` block their thread; they belong in a compute thread.
 */

import type { EngineSettings } from "@coxswain/domain";
import type { Dataset, Optimizer, UpdateState } from "@coxswain/program";

/** Where a named tensor lies in the flat vector. Offsets are in floats, on 64-byte boundaries. */
export interface Segment {
  readonly name: string;
  readonly shape: readonly number[];
  readonly offset: number;
  /** Product of the shape. */
  readonly size: number;
  /** False for state that no gradient moves, such as moving averages; it comes after all the others. */
  readonly trained?: false | undefined;
}

/**
 * The flat vector of a program: the parameters, one after the other, then state that is not trained.
 * The reduced vector that the exchange carries is the gradient in this layout, with the state's next
 * value in the state's place, then one float for each metric:
 * shape [parameterFloats + metricNames.length], padded to a multiple of 16.
 */
export interface Layout {
  readonly segments: readonly Segment[];
  /** Floats up to the end of the last segment, a multiple of 16. */
  readonly parameterFloats: number;
  /** Names of the per-shard sums after the gradient; the first is always "loss". */
  readonly metricNames: readonly string[];
  /** parameterFloats + metricNames.length, rounded up to a multiple of 16. */
  readonly vectorFloats: number;
  /** Optimizer slots per parameter: 0 SGD, 1 momentum, 2 Adam. Each is a vector of parameterFloats. */
  readonly slotCount: number;
}

/** What makes two engines give the same bits; a job records it and refuses others. */
export interface EngineIdentity extends EngineSettings {
  readonly name: "native" | "wasm" | "webgpu";
  /** One line: name, versions, threads, instruction set, settings. Equal text means equal bits. */
  readonly text: string;
}

export interface CompileOptions {
  /** Absolute path of the bundle (an ES module). */
  readonly programPath: string;
  /** spec.data. */
  readonly data: string;
  readonly batchSize: number;
  readonly shards: number;
  readonly seed: number;
  readonly parameters: Readonly<Record<string, number | string | boolean>>;
  /** The job's length, as in its spec. */
  readonly steps?: number | undefined;
  readonly epochs?: number | undefined;
  /** Opens the data in the program's place: somebody reads it in the background. */
  readonly openData?: () => Promise<Dataset>;
  /** The data is open and the program's own step is about to run for the first time. */
  readonly onRecording?: () => void;
}

/** Where a shard's gradient is taken: nothing else decides its bits. */
export interface ShardInput {
  /** From 0. */
  readonly step: number;
  /** 0 <= shard < shards. */
  readonly shard: number;
  /** Shape [parameterFloats]. Those of one step never change: an engine may keep them. */
  readonly parameters: Float32Array;
}

/** Neighbouring shards of a step. */
export interface ShardsInput extends ShardInput {
  /** So many from `shard` on; a power of two. */
  readonly count: number;
}

/**
 * Shards whose vectors are wanted as a sum only: memory sees one vector instead of one for each shard.
 */
export interface ShardRuns {
  /** How many shards may be kept at once, by the memory that they take: 1 before the first is known. */
  readonly countMax: number;
  /**
   * How many of `count` neighbours, a power of two, `start` is to be given at once: all of them where
   * that is faster and was seen to have the same bits, else 1.
   */
  atOnce(count: number): number;
  /**
   * Computes shards up to the point from which the sum goes on; gives the numbers of the runs.
   * @param at runs what reads the data of this shard
   */
  start(input: ShardsInput, at?: <Result>(shard: number, read: () => Result) => Result): number[];
  /**
   * The vectors of the shards of these runs, neighbours in order and a power of two, added up in the
   * canonical tree; writes all of `out`, shape [vectorFloats]. The runs are gone.
   */
  sum(runs: readonly number[], out: Float32Array): void;
  drop(runs: readonly number[]): void;
}

export interface CompiledProgram {
  /** SHA-256 of program, shapes, recorded step, optimizer and engine: workers with another hash may not join. */
  readonly hash: string;
  /** Recorded, and so data that can be shipped; or run operator by operator. */
  readonly mode: ProgramMode;
  readonly layout: Layout;
  readonly samplesTrain: number;
  readonly samplesTest: number;
  /** Seconds that XLA has compiled for it in this thread so far; undefined without XLA. */
  readonly xlaSeconds?: number | undefined;
  /** Fills [parameterFloats] from the seed. Deterministic. */
  initialize(parameters: Float32Array): void;
  /**
   * One shard's batch to loss, metrics and gradient, each already divided by the global batch, so
   * that the tree sum over all shards is the mean; and to the next value of the state, divided by the
   * number of shards. Writes all of `out`, shape [vectorFloats].
   * @throws AppError `program-threw` with the program's own error as cause.
   */
  gradient(input: ShardInput, out: Float32Array): void;
  /** The same in two parts, where that is faster. */
  readonly shardRuns?: ShardRuns | undefined;
  /** The optimizer, in place. */
  update(state: UpdateState): void;
  /** What `update` does as data, where it is data: run elsewhere it has the same bits. */
  readonly rule: Optimizer["rule"];
  /** Sums of the metrics over held-out samples `from <= i < to`; divide by the number of samples. */
  evaluate(parameters: Float32Array, from: number, to: number): Readonly<Record<string, number>>;
  /** What an export needs beside the weights: a Keras topology for layers models, else undefined. */
  readonly modelTopology: Readonly<Record<string, unknown>> | undefined;
  /** The program as data, for other workers; only where it was compiled, and recorded. */
  encode?(): Uint8Array;
  dispose(): void;
}

export type ProgramMode = "recorded" | "eager";

export interface Engine {
  readonly identity: EngineIdentity;
  /** @param mode `eager` records nothing */
  compile(options: CompileOptions, mode?: ProgramMode): Promise<CompiledProgram>;
}
