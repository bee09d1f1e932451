/** A compiled program that is data: TensorFlow's library runs it, TensorFlow.js is not needed. */
import { createHash } from "node:crypto";
import { AppError, assert, fillUniform, type Place, settingsOf } from "@coxswain/domain";
import type { Binding } from "./binding.ts";
import { purposes } from "./deterministic.ts";
import { FunctionRun } from "./graph-function.ts";
import { programError } from "./load-program.ts";
import { type OpenedProgram, openProgram } from "./open-program.ts";
import type {
  CompiledProgram,
  CompileOptions,
  EngineIdentity,
  ShardInput,
  ShardRuns,
} from "./port.ts";
import { decodeProgram, type ProgramData, programHash } from "./program-data.ts";
import { ProgramFacts } from "./program-facts.ts";
import { type Shaped, ShardPlan } from "./shard-plan.ts";

/** What runs may keep before they are added up. */
const keptBytesMax = 32 * 2 ** 20;
/** About the size of trained weights. */
const probeScale = 0.1;

/**
 * @param program bytes as `encodeProgram` gave them, or undefined when there are none
 * @throws AppError `engine-mismatch` when they were made for something else
 */
export async function openRecorded(
  { binding, identity }: { readonly binding: Binding; readonly identity: EngineIdentity },
  program: Promise<Uint8Array | undefined>,
  options: CompileOptions,
): Promise<CompiledProgram | undefined> {
  const [bytes, opened] = await Promise.all([program, openProgram(options)]);
  if (bytes === undefined) return undefined;
  const data = decodeProgram(bytes);
  if (data.engine !== identity.text)
    throw new AppError(
      "engine-mismatch",
      `the program was compiled for "${data.engine}", this worker has "${identity.text}"`,
    );
  const { optimizer, source } = opened;
  const { engine, layout } = data;
  const facts = { engine, options, source, layout, optimizer: optimizer.identity };
  const hash = programHash({ ...facts, functions: data });
  if (hash !== data.hash)
    throw new AppError(
      "engine-mismatch",
      `the job's compiled program is ${data.hash.slice(0, 12)}, this program with these settings is ${hash.slice(0, 12)}`,
    );
  const recorded = new RecordedProgram(binding, data, opened, options);
  const probe = recorded.probe();
  if (probe !== data.probe)
    throw new AppError(
      "engine-mismatch",
      `this processor computes other bits (${probe.slice(0, 12)}) than the one that the program was compiled on (${data.probe.slice(0, 12)})`,
    );
  return recorded;
}

export class RecordedProgram extends ProgramFacts implements CompiledProgram {
  readonly mode = "recorded";
  readonly #binding: Binding;
  readonly #plan: ShardPlan;
  readonly #step: FunctionRun;
  readonly #evaluation: FunctionRun;
  readonly #isXla: boolean;
  readonly #seed: number;
  readonly #initial: Float32Array | undefined;
  #parameterIds: number[] = [];
  /** Memory that the parameters' tensors lie in: what is written there needs no loading. */
  #aliased: Float32Array | undefined;
  #loadedStep = -1;
  /** What one run of the step keeps. */
  #runBytes: number | undefined;
  readonly shardRuns: ShardRuns;

  /** @param initial the parameters that the seed gives, for whoever starts the job */
  constructor(
    binding: Binding,
    data: Omit<ProgramData, "probe">,
    opened: OpenedProgram,
    options: CompileOptions,
    initial?: Float32Array,
  ) {
    super(data, opened);
    this.#binding = binding;
    this.#plan = new ShardPlan(opened.data, data.layout, options);
    this.#isXla = settingsOf(data.engine).xla ?? false;
    this.#step = new FunctionRun(binding, data.step, this.#isXla);
    this.#evaluation = new FunctionRun(binding, data.evaluation, this.#isXla);
    this.#seed = options.seed;
    this.#initial = initial;
    const runsMax = () => this.#runsMax();
    this.shardRuns = {
      get countMax() {
        return runsMax();
      },
      start: (input) => this.#start(input),
      sum: (runs, out) => this.#sum(runs, out),
      drop: (runs) => binding.dropRuns(runs),
    };
  }

  get xlaSeconds(): number | undefined {
    return this.#isXla ? this.#step.xlaSeconds + this.#evaluation.xlaSeconds : undefined;
  }

  initialize(parameters: Float32Array): void {
    assert(this.#initial !== undefined, "whoever starts a job has its initial parameters");
    parameters.set(this.#initial);
  }

  gradient(input: ShardInput, out: Float32Array): void {
    this.shardRuns.sum([this.shardRuns.start(input)], out);
  }

  #start(input: ShardInput): number {
    const plan = this.#plan;
    try {
      const batch = plan.shaped(plan.batch(input), plan.samples);
      if (this.#loadedStep !== input.step) this.#load(input.parameters);
      this.#loadedStep = input.step;
      const run = this.#run(this.#step, batch, plan.randomPlace(input));
      this.#runBytes ??= this.#binding.bytesOfRun(run);
      return run;
    } catch (cause) {
      throw programError(`step ${input.step}, shard ${input.shard}`, cause);
    }
  }

  #sum(runs: readonly number[], out: Float32Array): void {
    this.#plan.clearGaps(out);
    this.#step.sum(runs, this.#plan.views(out));
  }

  #runsMax(): number {
    return Math.max(1, Math.floor(keptBytesMax / (this.#runBytes ?? keptBytesMax)));
  }

  evaluate(parameters: Float32Array, from: number, to: number): Readonly<Record<string, number>> {
    const plan = this.#plan;
    const place = { seed: this.#seed, purpose: purposes.evaluation };
    const values = this.layout.metricNames.map(() => new Float32Array(plan.evaluationBatch));
    try {
      this.#load(parameters);
      this.#loadedStep = -1;
      return plan.evaluate(from, to, (batch) => {
        const shaped = plan.shaped(batch, plan.evaluationBatch);
        this.#evaluation.sum([this.#run(this.#evaluation, shaped, place)], values);
        return values;
      });
    } catch (cause) {
      throw programError("evaluation", cause);
    } finally {
      // More samples at once than a shard has: training does not need that much.
      this.#binding.trim();
    }
  }

  /** SHA-256 of a shard's results at made-up parameters: what this machine's bits are. */
  probe(): string {
    const parameters = new Float32Array(this.layout.parameterFloats);
    fillUniform({ seed: this.#seed, purpose: purposes.probe }, parameters);
    for (let i = 0; i < parameters.length; i += 1)
      parameters[i] = probeScale * (parameters[i]! - 0.5);
    const out = new Float32Array(this.layout.vectorFloats);
    this.gradient({ step: 0, shard: 0, parameters }, out);
    this.#letGo();
    this.#loadedStep = -1;
    return createHash("sha256").update(Buffer.from(out.buffer)).digest("hex");
  }

  #run(made: FunctionRun, batch: readonly Shaped[], place: Place): number {
    const ids = batch.map((shaped) => this.#copy(shaped));
    try {
      return made.start([...ids, ...this.#parameterIds], place);
    } finally {
      for (const id of ids) this.#binding.deleteTensor(id);
    }
  }

  #load(vector: Float32Array): void {
    const isThere =
      vector.buffer === this.#aliased?.buffer && vector.byteOffset === this.#aliased.byteOffset;
    if (isThere) return;
    this.#letGo();
    const parameters = this.#plan.parameters(vector);
    const ids = parameters.map(({ values, shape }) =>
      this.#binding.aliasTensor(shape, this.#binding.TF_FLOAT, values),
    );
    this.#aliased = ids.every((id) => id >= 0) ? vector : undefined;
    this.#parameterIds = ids.map((id, i) => (id >= 0 ? id : this.#copy(parameters[i]!)));
  }

  #copy({ values, shape }: Shaped): number {
    return this.#binding.createTensor(shape, this.#binding.TF_FLOAT, values);
  }

  #letGo(): void {
    for (const id of this.#parameterIds) this.#binding.deleteTensor(id);
    this.#parameterIds = [];
    this.#aliased = undefined;
  }

  dispose(): void {
    this.#letGo();
    this.#binding.trim();
  }
}
