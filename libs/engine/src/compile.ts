/**
 * Compiles a program for its shapes with TensorFlow.js: recorded where the engine can, so that it is
 * data from then on; else run operator by operator, which every engine can.
 */
import { type Batch, tf } from "@coxswain/program";
import type { Binding } from "./binding.ts";
import { copyTensor } from "./copy-tensor.ts";
import { withDeterministicRandom } from "./deterministic.ts";
import { programError } from "./load-program.ts";
import { openProgram } from "./open-program.ts";
import type { CompiledProgram, CompileOptions, EngineIdentity, ShardInput } from "./port.ts";
import { encodeProgram, type ProgramData, programHash } from "./program-data.ts";
import { ProgramFacts } from "./program-facts.ts";
import { initialize, load, type Parts, partsOf } from "./program-parts.ts";
import { NotReplayable } from "./record.ts";
import type { RecordFunction } from "./record-function.ts";
import { RecordedProgram } from "./recorded-program.ts";
import type { RecordedFunctions, Step } from "./step.ts";

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

class TfjsProgram extends ProgramFacts implements CompiledProgram {
  readonly mode = "eager";
  readonly #parts: Parts;
  /** The step whose parameters the model's variables hold: those of one step never change. */
  #loadedStep = -1;

  constructor(hash: string, parts: Parts) {
    const { layout, model, opened } = parts;
    super({ hash, layout, modelTopology: model.topology }, opened);
    this.#parts = parts;
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
      if (this.#loadedStep !== input.step) load(this.#parts, input.parameters);
      this.#loadedStep = input.step;
      step.within(input, () => {
        for (const [index, tensor] of step.run(step.tensors(batch, plan.samples)).entries())
          copyTensor(tensor, views[index]!);
      });
    } catch (cause) {
      throw programError(`step ${input.step}, shard ${input.shard}`, cause);
    }
  }

  evaluate(parameters: Float32Array, from: number, to: number): Readonly<Record<string, number>> {
    load(this.#parts, parameters);
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
