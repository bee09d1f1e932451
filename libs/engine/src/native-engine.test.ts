/** Runs where the native engine is installed: `cox engine install native`. */
import { deepEqual, equal, match, ok, rejects, throws } from "node:assert/strict";
import { basename } from "node:path";
import { test } from "node:test";
import { tf } from "@coxswain/program";
import type { RecordedBackend } from "./binding.ts";
import { engineEnvironment } from "./native-place.ts";
import { availableEngines, openEngine, openRecordedEngine } from "./open-engine.ts";
import type { CompiledProgram, Engine } from "./port.ts";
import {
  digits,
  gradientOf,
  hashOf,
  mnistOptions,
  parametersOf,
  programOf,
  runElsewhere,
  testEngine,
} from "./testing.ts";

const cacheDir = process.env["COXSWAIN_CACHE_DIR"] ?? "";
const isInstalled = (await availableEngines({ cacheDir })).some(({ name }) => name === "native");
const tiny = digits.replace("digits.mjs", "tiny.mjs");

/** Loads the program's data in a process of its own; prints a gradient's hash and what was loaded. */
const source = `
const [file, cacheDir, options] = process.argv.slice(1);
const { readFile } = await import("node:fs/promises");
const { createHash } = await import("node:crypto");
const { openRecordedEngine } = await import("@coxswain/engine");
const engine = await openRecordedEngine("native", { cacheDir });
const program = await engine.open(readFile(file), JSON.parse(options));
const parameters = new Float32Array(program.layout.parameterFloats).fill(0.01);
const out = new Float32Array(program.layout.vectorFloats);
program.gradient({ step: 5, shard: 1, parameters }, out);
const isTensorFlowJsLoaded = Object.keys((await import("node:module")).default._cache).some((path) => path.includes("tfjs-core/dist"));
const gradient = createHash("sha256").update(Buffer.from(out.buffer)).digest("hex").slice(0, 16);
console.log(JSON.stringify({ gradient, hash: program.hash, isTensorFlowJsLoaded, metrics: program.evaluate(parameters, 3, 250) }));
`;
const elsewhere = { source, variables: engineEnvironment("native") };

function testNative(engine: Engine): void {
  testEngine(engine);
  for (const programPath of [digits, tiny]) {
    const options = { ...mnistOptions, programPath };
    const name = basename(programPath);

    test(`${name}: a recorded step has the bits of the step operator by operator`, async () => {
      const [recorded, eager] = [
        await engine.compile(options),
        await engine.compile(options, "eager"),
      ];
      deepEqual([recorded.mode, eager.mode], ["recorded", "eager"]);
      ok(recorded.hash !== eager.hash);
      const parameters = parametersOf(recorded);
      deepEqual(gradientOf(recorded, parameters, 5, 1), gradientOf(eager, parameters, 5, 1));
      deepEqual(recorded.evaluate(parameters, 0, 250), eager.evaluate(parameters, 0, 250));
    });

    test(`${name}: shards added up as they are computed have the bits of their vectors' tree`, async () => {
      const program = await engine.compile({ ...mnistOptions, programPath });
      const parameters = parametersOf(program);
      const runs = program.shardRuns!;
      const start = (shard: number) => runs.start({ step: 3, shard, count: 1, parameters });
      runs.sum(start(0), new Float32Array(program.layout.vectorFloats));
      ok(runs.countMax >= 4);
      const [a, b, c, d] = [0, 1, 2, 3].map((shard) => gradientOf(program, parameters, 3, shard));
      const add = (left: Float32Array, right: Float32Array) =>
        left.map((value, i) => value + right[i]!);
      const [two, four] = [new Float32Array(a!.length), new Float32Array(a!.length).fill(7)];
      runs.sum([2, 3].flatMap(start), two);
      runs.sum([0, 1, 2, 3].flatMap(start), four);
      deepEqual(two, add(c!, d!));
      deepEqual(four, add(add(a!, b!), add(c!, d!)));
      throws(() => runs.sum([0, 1, 2].flatMap(start), two), /power of two/);
    });

    test(`${name}: as data it gives the same bits in another process, without TensorFlow.js`, async (t) => {
      const here = await engine.compile(options);
      const parameters = new Float32Array(here.layout.parameterFloats).fill(0.01);
      deepEqual(await runElsewhere(t, { ...elsewhere, program: here.encode!(), options }), {
        gradient: hashOf(gradientOf(here, parameters, 5, 1)),
        hash: here.hash,
        isTensorFlowJsLoaded: false,
        metrics: here.evaluate(parameters, 3, 250),
      });
    });
  }

  test("a step that TensorFlow refuses for several shards is recorded for one", async () => {
    const options = { ...mnistOptions, programPath: tiny, seed: 77 };
    const { binding } = tf.backend() as unknown as RecordedBackend;
    const define = binding.defineFunction;
    let defined = 0;
    binding.defineFunction = (...given) => {
      defined += 1;
      if (defined === 1) throw new Error("rank 9 is not supported");
      return define(...given);
    };
    const program = await engine
      .compile(options)
      .finally(() => Object.assign(binding, { defineFunction: define }));
    equal(program.mode, "recorded");
    const runs = program.shardRuns!;
    deepEqual([runs.atOnce(2), runs.atOnce(2)], [1, 1]);
    const parameters = parametersOf(program);
    const eager = await engine.compile(options, "eager");
    deepEqual(gradientOf(program, parameters, 5, 1), gradientOf(eager, parameters, 5, 1));
  });

  test("data that was made for other settings or another engine is refused in words", async () => {
    const options = { ...mnistOptions, programPath: digits };
    const program: CompiledProgram = await engine.compile(options);
    const recorded = await openRecordedEngine("native", { cacheDir });
    const bytes = program.encode!();
    const open = (data: Uint8Array, given: typeof options) =>
      recorded.open(Promise.resolve(data), given);
    await rejects(open(bytes, { ...options, seed: 2 }), /engine-mismatch.*settings/);
    const text = new TextDecoder().decode(bytes);
    const foreign = new TextEncoder().encode(text.replace("threads-1", "threads-2"));
    await rejects(open(foreign, options), /engine-mismatch.*threads-2.*threads-1/);
    await rejects(open(bytes.subarray(1), options), /engine-mismatch.*format/);
  });

  const layers = `tf.layers.flatten({ inputShape: [28, 28, 1] }), tf.layers.batchNormalization(),
    tf.layers.dense({ units: 10 })`;
  const unrecordable: Record<string, { readonly loss: string; readonly reason: RegExp }> = {
    "values read back": {
      loss: "(l, o) => crossEntropy(l, tf.mul(o, 1 + 0 * tf.sum(o).dataSync()[0]))",
      reason: /reads values back while it runs, after operator Sum at program\.mjs:\d/,
    },
    "a counter": {
      loss: "(l, o) => tf.mul(crossEntropy(l, o), globalThis.calls = 1 + (globalThis.calls ?? 0))",
      reason: /two runs differ at operator Mul at program\.mjs:\d/,
    },
    "a tensor from outside": {
      loss: "(l, o) => tf.mul(crossEntropy(l, o), globalThis.kept ??= tf.keep(tf.scalar(1)))",
      reason: /operator Mul reads a tensor from outside the step at program\.mjs:\d/,
    },
  };
  for (const [name, { loss, reason }] of Object.entries(unrecordable))
    test(`${name}: the program runs operator by operator, and the line names operator and place`, async (t) => {
      const reasons: string[] = [];
      const onFallback = (why: string) => void reasons.push(why);
      const told = await openEngine("native", { cacheDir, onFallback });
      const model = `model: () => tf.sequential({ layers: [${layers}] }), loss: ${loss}`;
      const path = await programOf(t, model);
      const program = await told.compile({ ...mnistOptions, programPath: path });
      equal(program.mode, "eager");
      equal(reasons.length, 1);
      match(reasons[0]!, reason);
      // The state is as before the recording that was given up.
      ok(gradientOf(program, parametersOf(program), 3, 1).every(Number.isFinite));
    });
}

if (isInstalled) testNative(await openEngine("native", { cacheDir }));
else test("the native engine", { skip: "it is not installed" });
