/**
 * Compiles the job's program with TensorFlow.js, then ends: what it loaded is let go, and the compute
 * thread runs what it made without.
 */
import { setSourceMapsSupport } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import { AppError, shardSamples } from "@coxswain/domain";
import { openEngine } from "@coxswain/engine";
import { loadProgram } from "@coxswain/engine/load-program";
import { type Dataset, isInMemory, type Split, type StreamedSplit } from "@coxswain/program";
import type { CompileReply, CompileThreadOptions } from "./compute-messages.ts";

const { engine: name, settings, gpu, cacheDir, compile } = workerData as CompileThreadOptions;
const reply = (message: CompileReply, transfer: ArrayBuffer[] = []) =>
  parentPort!.postMessage(message, transfer);

/** Held-out samples that recording looks at, at most. */
const heldOutMax = 100;

/** Of data that is read in the background, only what recording looks at. */
async function openData(): Promise<Dataset> {
  const program = await loadProgram(compile.programPath);
  const data = await program.data(compile.data);
  if (isInMemory(data)) return data;
  const { samples } = data.train;
  const trained = [0, 1].flatMap((step) => shardSamples({ ...compile, samples, step, shard: 0 }));
  const held = Math.min(heldOutMax, data.test.samples);
  const [train, test] = await Promise.all([
    readSome(data.train, [...new Set(trained)]),
    readSome(
      data.test,
      Array.from({ length: held }, (_, index) => index),
    ),
  ]);
  return { ...data, train, test };
}

async function readSome(split: StreamedSplit, indices: readonly number[]): Promise<Split> {
  const { inputs, labels } = await split.read(indices);
  const rowOf = new Map(indices.map((index, row) => [index, row]));
  const gather = (values: Float32Array, wanted: readonly number[]) => {
    const width = values.length / indices.length;
    const out = new Float32Array(width * wanted.length);
    for (const [i, index] of wanted.entries()) {
      const first = rowOf.get(index)! * width;
      out.set(values.subarray(first, first + width), i * width);
    }
    return out;
  };
  const batch = (wanted: readonly number[]) => ({
    inputs: gather(inputs, wanted),
    labels: gather(labels, wanted),
  });
  return { samples: split.samples, batch };
}

async function run(): Promise<void> {
  let reason = "the engine records nothing";
  const onFallback = (why: string) => {
    reason = why;
  };
  const engine = await openEngine(name, { cacheDir, ...settings, gpu, onFallback });
  const onRecording = () => reply({ kind: "recording" });
  const program = await engine.compile({ ...compile, openData, onRecording });
  const data = program.encode?.();
  if (data === undefined) return reply({ kind: "eager", reason });
  const initial = new Float32Array(program.layout.parameterFloats);
  program.initialize(initial);
  const { xlaSeconds } = program;
  reply({ kind: "recorded", data, initial, xlaSeconds }, [initial.buffer]);
}

try {
  setSourceMapsSupport(true);
  await run();
} catch (error) {
  const code = error instanceof AppError ? error.code : "program-threw";
  reply({ kind: "failed", code, message: error instanceof Error ? error.message : String(error) });
}
