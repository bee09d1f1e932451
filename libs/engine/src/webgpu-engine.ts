/** The engine `webgpu`: the port's calls, which block, over a thread that waits for the GPU. */
import { once } from "node:events";
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
} from "node:worker_threads";
import { AppError, reviveError } from "@coxswain/domain";
import { type OpenedProgram, openProgram } from "./open-program.ts";
import type { CompiledProgram, CompileOptions, Engine, ShardInput } from "./port.ts";
import { programHash } from "./program-data.ts";
import { ProgramFacts } from "./program-facts.ts";
import { ShardPlan } from "./shard-plan.ts";
import type { Answer, Ready, Request, ThreadOptions } from "./webgpu-messages.ts";
import { lookForAdapter, webgpuIdentity } from "./webgpu-place.ts";

/** The first run makes the shaders. */
const answerTimeoutMs = 300_000;

/** @throws AppError `engine-unavailable` when it is not installed, or no adapter is there */
export async function openWebgpuEngine(cacheDir: string): Promise<Engine> {
  const identity = webgpuIdentity(await lookForAdapter(cacheDir));
  return { identity, compile: (options) => compile(cacheDir, identity.text, options) };
}

async function compile(
  cacheDir: string,
  engine: string,
  options: CompileOptions,
): Promise<CompiledProgram> {
  const opened = await openProgram(options);
  const { data, optimizer, source } = opened;
  const { openData: _, onRecording, ...rest } = options;
  const { inputShape, labelShape } = data;
  const bell = new SharedArrayBuffer(4);
  const samples = { samplesTrain: data.train.samples, samplesTest: data.test.samples };
  const shapes = { inputShape, labelShape, ...samples };
  const { port1, port2 } = new MessageChannel();
  const threadOptions: ThreadOptions = { cacheDir, compile: rest, shapes, bell };
  const workerData = { ...threadOptions, port: port2 };
  const file = new URL("./webgpu-thread.ts", import.meta.url);
  const thread = new Worker(file, { workerData, transferList: [port2] });
  const [ready] = (await once(thread, "message")) as [Ready];
  thread.unref();
  if (ready.kind === "failed") throw reviveError(ready, "program-threw");
  const facts = { engine, options, source, layout: ready.layout, functions: undefined };
  const hash = programHash({ ...facts, optimizer: optimizer.identity });
  const program = new WebgpuProgram({ hash, ready, opened, options, thread, port: port1, bell });
  onRecording?.();
  program.try();
  return program;
}

interface Parts {
  readonly hash: string;
  readonly ready: Extract<Ready, { kind: "ready" }>;
  readonly opened: OpenedProgram;
  readonly options: CompileOptions;
  readonly thread: Worker;
  readonly port: MessagePort;
  readonly bell: SharedArrayBuffer;
}

class WebgpuProgram extends ProgramFacts implements CompiledProgram {
  readonly mode = "eager";
  readonly #parts: Parts;
  readonly #plan: ShardPlan;
  readonly #answers: Int32Array;
  /** The step whose parameters the thread has. */
  #loadedStep = -1;

  constructor(parts: Parts) {
    const { hash, ready, opened, options } = parts;
    super({ ...ready, hash }, opened);
    this.#parts = parts;
    this.#plan = new ShardPlan(opened.data, this.layout, options);
    this.#answers = new Int32Array(parts.bell);
  }

  /** What the back end lacks shows now instead of in the middle of a run. */
  try(): void {
    const { initial } = this.#parts.ready;
    this.gradient(
      { step: 0, shard: 0, parameters: initial },
      new Float32Array(this.layout.vectorFloats),
    );
    this.evaluate(initial, 0, 1);
  }

  initialize(parameters: Float32Array): void {
    parameters.set(this.#parts.ready.initial);
  }

  gradient(input: ShardInput, out: Float32Array): void {
    const { step, shard } = input;
    const parameters = this.#loadedStep === step ? undefined : input.parameters;
    this.#plan.clearGaps(out);
    const batch = this.#plan.batch(input);
    const values = this.#ask({ kind: "gradient", step, shard, ...batch, parameters });
    this.#loadedStep = step;
    let offset = 0;
    for (const view of this.#plan.views(out)) {
      view.set(values.subarray(offset, offset + view.length));
      offset += view.length;
    }
  }

  evaluate(parameters: Float32Array, from: number, to: number): Readonly<Record<string, number>> {
    this.#loadedStep = -1;
    let given: Float32Array | undefined = parameters;
    return this.#plan.evaluate(from, to, (batch) => {
      const request = { kind: "scores", step: 0, shard: 0, ...batch, parameters: given } as const;
      const values = this.#ask(request);
      given = undefined;
      const { evaluationBatch: width } = this.#plan;
      return this.layout.metricNames.map((_, i) => values.subarray(i * width, (i + 1) * width));
    });
  }

  /** Waits for the answer; this thread does nothing else. */
  #ask(request: Request): Float32Array {
    const before = Atomics.load(this.#answers, 0);
    this.#parts.port.postMessage(request);
    const woken = Atomics.wait(this.#answers, 0, before, answerTimeoutMs);
    if (woken === "timed-out")
      throw new AppError("program-threw", "the GPU gave no answer: the adapter may be lost");
    const answer = receiveMessageOnPort(this.#parts.port)!.message as Answer;
    if (answer.kind === "failed") throw reviveError(answer, "program-threw");
    return answer.values;
  }

  dispose(): void {
    void this.#parts.thread.terminate();
  }
}
