/**
 * Compiles a program for its shapes, on whichever TensorFlow.js back end is active: the eager path,
 * which every engine falls back to.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { AppError } from "@coxswain/domain";
import { tf } from "@coxswain/program";
import { purposes, withDeterministicRandom } from "./deterministic.ts";
import { layoutOf } from "./layout.ts";
import { loadProgram, programError } from "./load-program.ts";
import { buildModel } from "./model.ts";
import type {
  CompiledProgram,
  CompileOptions,
  EngineIdentity,
  Layout,
  ShardInput,
} from "./port.ts";
import type { Recorder, ShardReplay } from "./shard-replay.ts";
import { Step, type StepParts } from "./step.ts";

const evaluationBatch = 500;

export async function compileProgram(
  identity: EngineIdentity,
  options: CompileOptions,
  recorder?: Recorder,
): Promise<CompiledProgram> {
  if (options.batchSize % options.shards !== 0)
    throw new AppError("invalid-spec", "batchSize is not a multiple of shards");
  const [program, source] = await Promise.all([
    loadProgram(options.programPath),
    readFile(options.programPath),
  ]);
  const context = { parameters: options.parameters, seed: options.seed };
  try {
    const data = await program.data(options.data);
    const model = buildModel(program, context);
    const optimizer =
      typeof program.optimizer === "function" ? program.optimizer(context) : program.optimizer;
    const metricNames = ["loss", ...Object.keys(program.metrics ?? {})];
    const layout = layoutOf(model.weights, metricNames, optimizer.slotCount);
    const parts = { program, data, model, layout, options };
    const step = new Step(parts);
    const replay = recorder && step.record(recorder);
    const hash = hashOf(identity, options, source, {
      layout: withoutNames(layout),
      optimizer: optimizer.identity,
      step: replay?.hash ?? "eager",
    });
    const { update, rule } = optimizer;
    return new TfjsProgram({ ...parts, step, replay, hash, update, rule });
  } catch (cause) {
    throw programError("compiling the program", cause);
  }
}

function hashOf(
  identity: EngineIdentity,
  options: CompileOptions,
  source: Uint8Array,
  compiled: { readonly layout: object; readonly optimizer: string; readonly step: string },
): string {
  // Named one by one: what else the caller's record holds, such as limits of workers, may change.
  const { data, batchSize, shards, seed, parameters } = options;
  const facts = { engine: identity.text, data, batchSize, shards, seed, parameters, ...compiled };
  return createHash("sha256").update(source).update(JSON.stringify(facts)).digest("hex");
}

/** TensorFlow.js numbers the layers of a process: the second model's are called otherwise. */
function withoutNames({ segments, ...layout }: Layout): object {
  return { ...layout, segments: segments.map(({ shape, offset }) => ({ shape, offset })) };
}

interface Parts extends StepParts {
  readonly step: Step;
  /** The step as one call, where the engine can. */
  readonly replay: ShardReplay | undefined;
  readonly hash: string;
  readonly update: CompiledProgram["update"];
  readonly rule: CompiledProgram["rule"];
}

class TfjsProgram implements CompiledProgram {
  readonly hash: string;
  readonly layout: Layout;
  readonly samplesTrain: number;
  readonly samplesTest: number;
  readonly modelTopology: CompiledProgram["modelTopology"];
  readonly update: CompiledProgram["update"];
  readonly rule: CompiledProgram["rule"];
  readonly #parts: Parts;
  /** The step whose parameters the model's variables hold: those of one step never change. */
  #loadedStep = -1;
  /** The step whose parameters the replay holds. */
  #replayedStep = -1;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.hash = parts.hash;
    this.layout = parts.layout;
    this.samplesTrain = parts.data.train.samples;
    this.samplesTest = parts.data.test.samples;
    this.modelTopology = parts.model.topology;
    this.update = parts.update;
    this.rule = parts.rule;
  }

  initialize(parameters: Float32Array): void {
    parameters.fill(0, 0, this.layout.parameterFloats);
    for (const [index, { offset }] of this.layout.segments.entries())
      parameters.set(this.#parts.model.initial(index), offset);
  }

  gradient(input: ShardInput, out: Float32Array): void {
    try {
      this.#derive(input, out);
    } catch (cause) {
      throw programError(`step ${input.step}, shard ${input.shard}`, cause);
    }
  }

  #derive(input: ShardInput, out: Float32Array): void {
    const { step, replay } = this.#parts;
    const batch = step.batch(input);
    const views = step.views(out);
    step.clearGaps(out);
    if (replay !== undefined) {
      if (this.#replayedStep !== input.step) replay.load(step.parameters(input.parameters));
      this.#replayedStep = input.step;
      return replay.run(step.shaped(batch), step.randomPlace(input), views);
    }
    if (this.#loadedStep !== input.step) this.#load(input.parameters);
    this.#loadedStep = input.step;
    step.within(input, () => {
      for (const [index, tensor] of step.run(step.tensors(batch)).entries())
        views[index]!.set(tensor.dataSync() as Float32Array);
    });
  }

  #load(parameters: Float32Array): void {
    for (const [index, { offset, size }] of this.layout.segments.entries()) {
      this.#parts.model.assign(index, parameters.subarray(offset, offset + size));
    }
  }

  evaluate(parameters: Float32Array, from: number, to: number): Readonly<Record<string, number>> {
    this.#load(parameters);
    this.#loadedStep = -1;
    const sums: Record<string, number> = {};
    try {
      for (let first = from; first < to; first += evaluationBatch) {
        const end = Math.min(to, first + evaluationBatch);
        withDeterministicRandom(
          { seed: this.#parts.options.seed, purpose: purposes.evaluation },
          () => tf.tidy(() => this.#score(first, end, sums)),
        );
      }
    } catch (cause) {
      throw programError("evaluation", cause);
    }
    return sums;
  }

  #score(from: number, to: number, sums: Record<string, number>): void {
    const { data, model, program, step } = this.#parts;
    const indices = Array.from({ length: to - from }, (_, i) => from + i);
    const { inputs, labels } = step.tensors(data.test.batch(indices), indices.length);
    const outputs = model.outputs(inputs, false);
    for (const [name, perSample] of Object.entries({ loss: program.loss, ...program.metrics })) {
      sums[name] = (sums[name] ?? 0) + tf.sum(perSample(labels, outputs)).dataSync()[0]!;
    }
  }

  dispose(): void {
    this.#parts.model.dispose();
  }
}
