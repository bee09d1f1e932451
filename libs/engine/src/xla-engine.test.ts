/** The native engine with XLA; runs where the native engine is installed. */
import { deepEqual, equal, match, notDeepEqual, notEqual, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { engineEnvironment } from "./native-place.ts";
import { availableEngines, openEngine, openRecordedEngine } from "./open-engine.ts";
import type { Engine } from "./port.ts";
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

const settings = { xla: true } as const;
const cacheDir = process.env["COXSWAIN_CACHE_DIR"] ?? "";
const isInstalled = (await availableEngines({ cacheDir })).some(({ xla }) => xla);
const tiny = digits.replace("digits.mjs", "tiny.mjs");

/** Compiles anew and runs data that it is given, in a process of its own; prints both gradients' hashes. */
const source = `
const [file, cacheDir, options] = process.argv.slice(1);
const { readFile } = await import("node:fs/promises");
const { openEngine, openRecordedEngine } = await import("@coxswain/engine");
const { gradientOf, hashOf } = await import(${JSON.stringify(new URL("./testing.ts", import.meta.url).href)});
const settings = { cacheDir, xla: true };
const anew = await (await openEngine("native", settings)).compile(JSON.parse(options));
const given = await (await openRecordedEngine("native", settings)).open(readFile(file), JSON.parse(options));
const parameters = new Float32Array(given.layout.parameterFloats).fill(0.01);
const hashes = [anew, given].map((program) => hashOf(gradientOf(program, parameters, 5, 1)));
console.log(JSON.stringify({ hashes, program: given.hash }));
`;
const elsewhere = { source, variables: engineEnvironment("native", settings) };

function testXla(engine: Engine): void {
  // What draws these runs operator by operator, which XLA does not.
  testEngine(engine, ["tf.randomNormal", "tf.randomUniform", "tf.multinomial", "Math.random"]);

  test("a step has the same bits in other processes, compiled anew or from data", async (t) => {
    const options = { ...mnistOptions, programPath: tiny };
    const here = await engine.compile(options);
    equal(here.mode, "recorded");
    const parameters = new Float32Array(here.layout.parameterFloats).fill(0.01);
    const hash = hashOf(gradientOf(here, parameters, 5, 1));
    const found = { hashes: [hash, hash], program: here.hash };
    deepEqual(await runElsewhere(t, { ...elsewhere, program: here.encode!(), options }), found);
    deepEqual(await runElsewhere(t, { ...elsewhere, program: here.encode!(), options }), found);
  });

  test("a step is that of TensorFlow's own kernels up to rounding, and says what XLA took", async () => {
    const options = { ...mnistOptions, programPath: digits };
    const plain = await (await openEngine("native", { cacheDir })).compile(options);
    const compiled = await engine.compile(options);
    const parameters = parametersOf(plain);
    deepEqual(parametersOf(compiled), parameters);
    const [one, other] = [plain, compiled].map((program) => gradientOf(program, parameters, 5, 1));
    const greatest = Math.max(...one!.map(Math.abs));
    for (const [i, value] of one!.entries())
      ok(Math.abs(value - other![i]!) < 1e-5 * greatest, `${i}: ${value}, not ${other![i]}`);
    notDeepEqual(one, other);
    equal(plain.xlaSeconds, undefined);
    ok(compiled.xlaSeconds! > 0);
  });

  test("who has XLA does not run what was made for who has not, and the other way round", async () => {
    const options = { ...mnistOptions, programPath: digits };
    const plain = await openEngine("native", { cacheDir });
    const [without, compiled] = [await plain.compile(options), await engine.compile(options)];
    notEqual(without.hash, compiled.hash);
    const open = async (data: Uint8Array, given: object) =>
      (await openRecordedEngine("native", { cacheDir, ...given })).open(
        Promise.resolve(data),
        options,
      );
    await rejects(open(without.encode!(), settings), /engine-mismatch/);
    await rejects(open(compiled.encode!(), {}), /engine-mismatch/);
  });

  const model = (forward: string) => `model: () => ({
    weights: ({ glorotUniform }) => ({ f: glorotUniform([3, 3, 1]), w: glorotUniform([784, 10]) }),
    forward: (w, x) => ${forward} })`;

  test("what XLA cannot compile is refused; the error names operator and place", async (t) => {
    const dilated = model(
      `tf.matMul(tf.reshape(tf.dilation2d(x, w.f, 1, "same"), [-1, 784]), w.w)`,
    );
    const path = await programOf(t, dilated);
    await rejects(engine.compile({ ...mnistOptions, programPath: path }), (error: Error) => {
      match(
        error.message,
        /^\[program-invalid\] XLA cannot compile operator Dilation2D at program/,
      );
      match(error.message, /XLA says: .*unsupported operations/);
      return true;
    });
  });

  test("what cannot be recorded is refused too, with the reason", async (t) => {
    const readBack = model(
      "tf.mul(tf.matMul(tf.reshape(x, [-1, 784]), w.w), 1 + 0 * tf.sum(x).dataSync()[0])",
    );
    const path = await programOf(t, readBack);
    await rejects(
      engine.compile({ ...mnistOptions, programPath: path }),
      /program-invalid.*XLA compiles steps that can be recorded.*reads values back.*Sum/,
    );
  });
}

if (isInstalled) testXla(await openEngine("native", { cacheDir, ...settings }));
else test("the native engine with XLA", { skip: "it is not installed" });
