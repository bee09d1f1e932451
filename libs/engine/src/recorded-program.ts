/** A compiled program that is data: TensorFlow's library runs it, TensorFlow.js is not needed. */
import { createHash } from "node:crypto";
import { AppError, assert, settingsOf } from "@coxswain/domain";
import type { Binding } from "./binding.ts";
import { purposes } from "./deterministic.ts";
import { FunctionRun } from "./graph-function.ts";
import { programError } from "./load-program.ts";
import { type OpenedProgram, openProgram } from "./open-program.ts";
import { copyOf, ParameterTensors } from "./parameter-tensors.ts";
import type { CompiledProgram, CompileOptions, EngineIdentity, ShardInput } from "./port.ts";
import { decodeProgram, type ProgramData, programHash } from "./program-data.ts";
import { ProgramFacts } from "./program-facts.ts";
import { madeUpParameters, RecordedRuns } from "./recorded-runs.ts";
import { ShardPlan } from "./shard-plan.ts";

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
  readonly #parameters: ParameterTensors;
  readonly #step: FunctionRun;
  readonly #evaluation: FunctionRun;
  readonly #isXla: boolean;
  readonly #seed: number;
  readonly #initial: Float32Array | undefined;
  readonly shardRuns: RecordedRuns;

  /** @param initial the parameters that the seed gives, for whoever starts the job */
  constructor(
    binding: Binding,
    data: Omit<ProgramData, "probe">,
    opened: OpenedProgram,
    options: CompileOptions,
    initial?: Float32Array,
  ) {
    super(data, opened);
    const { layout } = data;
    const { seed } = options;
    this.#binding = binding;
    const plan = new ShardPlan(opened.data, layout, options);
    const parameters = new ParameterTensors(binding, plan);
    this.#isXla = settingsOf(data.engine).xla ?? false;
    const step = new FunctionRun(binding, data.step, this.#isXla);
    this.#evaluation = new FunctionRun(binding, data.evaluation, this.#isXla);
    [this.#plan, this.#parameters, this.#step] = [plan, parameters, step];
    [this.#seed, this.#initial] = [seed, initial];
    this.shardRuns = new RecordedRuns({ binding, plan, layout, parameters, seed, step });
  }

  get xlaSeconds(): number | undefined {
    return this.#isXla ? this.#step.xlaSeconds + this.#evaluation.xlaSeconds : undefined;
  }

  initialize(parameters: Float32Array): void {
    assert(this.#initial !== undefined, "whoever starts a job has its initial parameters");
    parameters.set(this.#initial);
  }

  gradient(input: ShardInput, out: Float32Array): void {
    this.shardRuns.sum(this.shardRuns.start({ ...input, count: 1 }), out);
  }

  evaluate(parameters: Float32Array, from: number, to: number): Readonly<Record<string, number>> {
    const plan = this.#plan;
    const place = { seed: this.#seed, purpose: purposes.evaluation };
    const values = this.layout.metricNames.map(() => new Float32Array(plan.evaluationBatch));
    try {
      const ids = this.#parameters.of(parameters);
      return plan.evaluate(from, to, (batch) => {
        const shaped = plan.shaped(batch, plan.evaluationBatch);
        const given = shaped.map((one) => copyOf(this.#binding, one));
        try {
          this.#evaluation.run([...given, ...ids], place, values);
        } finally {
          for (const id of given) this.#binding.deleteTensor(id);
        }
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
    const parameters = madeUpParameters(this.layout, this.#seed);
    const out = new Float32Array(this.layout.vectorFloats);
    this.gradient({ step: 0, shard: 0, parameters }, out);
    this.#parameters.letGo();
    return createHash("sha256").update(Buffer.from(out.buffer)).digest("hex");
  }

  dispose(): void {
    this.#parameters.letGo();
    this.#binding.trim();
  }
}
