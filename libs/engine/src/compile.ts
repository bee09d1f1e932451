/**
 * Compiles a program for its shapes with TensorFlow.js: recorded where the engine can, so that it is
 * data from then on; else run operator by operator, which every engine can.
 */
import { type Batch, tf } from "@coxswain/program";
import type { Binding } from "./binding.ts";
import { withDeterministicRandom } from "./deterministic.ts";
import { layoutOf } from "./layout.ts";
import { programError } from "./load-program.ts";
import { buildModel } from "./model.ts";
import { type OpenedProgram, openProgram } from "./open-program.ts";
import type {
  CompiledProgram,
  CompileOptions,
  EngineIdentity,
  Layout,
  ShardInput,
} from "./port.ts";
import { encodeProgram, type ProgramData, programHash } from "./program-data.ts";
import { NotReplayable } from "./record.ts";
import type { RecordFunction } from "./record-function.ts";
import { RecordedProgram } from "./recorded-program.ts";
import { ShardPlan } from "./shard-plan.ts";
import { type RecordedFunctions, Step, type StepParts } from "./step.ts";

export interface Recorder {
  readonly binding: Binding;
  readonly record: RecordFunction;
  /** Hears why a program runs operator by operator, and where in it the reason lies. */
  readonly onFallback: (reason: string) => void;
}

export async function compileProgram(
  identity: EngineIdentity,
  options: CompileOptions,
  recorder?: Recorder,
): Promise<CompiledProgram> {
  const opened = await openProgram(options);
  try {
    const parts = partsOf(opened, options);
    const functions = recorder && recorded(parts.step, recorder);
    const { layout, model } = parts;
    const { source, optimizer } = opened;
    const facts = { engine: identity.text, options, source, layout, functions };
    const hash = programHash({ ...facts, optimizer: optimizer.identity });
    if (recorder === undefined || functions === undefined) return new TfjsProgram(hash, parts);
    const { topology: modelTopology } = model;
    const data = { hash, engine: identity.text, layout, modelTopology, ...functions };
    const initial = new Float32Array(layout.parameterFloats);
    initialize(parts, initial);
    model.dispose();
    return new CompiledHere(recorder.binding, data, opened, options, initial);
  } catch (cause) {
    throw programError("compiling the program", cause);
  }
}

/** A recorded program that can be handed to other workers. */
class CompiledHere extends RecordedProgram {
  readonly #data: Omit<ProgramData, "probe">;

  constructor(...[binding, data, ...rest]: ConstructorParameters<typeof RecordedProgram>) {
    super(binding, data, ...rest);
    this.#data = data;
  }

  encode(): Uint8Array {
    return encodeProgram({ ...this.#data, probe: this.probe() });
  }
}

function recorded(step: Step, { record, onFallback }: Recorder): RecordedFunctions | undefined {
  try {
    return step.record(record);
  } catch (error) {
    if (!(error instanceof NotReplayable)) throw error;
    onFallback(error.message);
    return undefined;
  }
}

interface Parts extends StepParts {
  readonly opened: OpenedProgram;
  readonly layout: Layout;
  readonly step: Step;
}

function partsOf(opened: OpenedProgram, options: CompileOptions): Parts {
  const { program, data, optimizer, context } = opened;
  const model = buildModel(program, context);
  const metricNames = ["loss", ...Object.keys(program.metrics ?? {})];
  const layout = layoutOf(model.weights, metricNames, optimizer.slotCount);
  const stepParts = { program, model, plan: new ShardPlan(data, layout, options), options };
  return { ...stepParts, opened, layout, step: new Step(stepParts) };
}

function initialize({ layout, model }: Parts, parameters: Float32Array): void {
  parameters.fill(0, 0, layout.parameterFloats);
  for (const [index, { offset }] of layout.segments.entries())
    parameters.set(model.initial(index), offset);
}

class TfjsProgram implements CompiledProgram {
  readonly hash: string;
  readonly mode = "eager";
  readonly layout: Layout;
  readonly samplesTrain: number;
  readonly samplesTest: number;
  readonly modelTopology: CompiledProgram["modelTopology"];
  readonly update: CompiledProgram["update"];
  readonly rule: CompiledProgram["rule"];
  readonly #parts: Parts;
  /** The step whose parameters the model's variables hold: those of one step never change. */
  #loadedStep = -1;

  constructor(hash: string, parts: Parts) {
    const { data, optimizer } = parts.opened;
    this.#parts = parts;
    this.hash = hash;
    this.layout = parts.layout;
    this.samplesTrain = data.train.samples;
    this.samplesTest = data.test.samples;
    this.modelTopology = parts.model.topology;
    this.update = optimizer.update;
    this.rule = optimizer.rule;
  }

  initialize(parameters: Float32Array): void {
    initialize(this.#parts, parameters);
  }

  gradient(input: ShardInput, out: Float32Array): void {
    const { step, plan } = this.#parts;
    try {
      const batch = plan.batch(input);
      const views = plan.views(out);
      plan.clearGaps(out);
      if (this.#loadedStep !== input.step) this.#load(input.parameters);
      this.#loadedStep = input.step;
      step.within(input, () => {
        for (const [index, tensor] of step.run(step.tensors(batch, plan.samples)).entries())
          views[index]!.set(tensor.dataSync() as Float32Array);
      });
    } catch (cause) {
      throw programError(`step ${input.step}, shard ${input.shard}`, cause);
    }
  }

  #load(parameters: Float32Array): void {
    for (const [index, { offset, size }] of this.layout.segments.entries()) {
      this.#parts.model.assign(index, parameters.subarray(offset, offset + size));
    }
  }

  evaluate(parameters: Float32Array, from: number, to: number): Readonly<Record<string, number>> {
    this.#load(parameters);
    this.#loadedStep = -1;
    try {
      return this.#parts.plan.evaluate(from, to, (batch) => this.#scores(batch));
    } catch (cause) {
      throw programError("evaluation", cause);
    }
  }

  #scores(batch: Batch): Float32Array[] {
    const { step, plan } = this.#parts;
    let scores: Float32Array[] = [];
    withDeterministicRandom(step.evaluationPlace, () =>
      tf.tidy(() => {
        const tensors = step.scores(step.tensors(batch, plan.evaluationBatch));
        scores = tensors.map((tensor) => tensor.dataSync() as Float32Array);
      }),
    );
    return scores;
  }

  dispose(): void {
    this.#parts.model.dispose();
  }
}
