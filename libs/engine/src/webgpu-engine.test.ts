/** Runs where the engine `webgpu` is installed and finds an adapter; one in software will do. */
import { deepEqual, equal, match, notDeepEqual, ok, rejects } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { availableEngines, openEngine } from "./open-engine.ts";
import type { Engine } from "./port.ts";
import { gradientOf, hashOf, mnistOptions, parametersOf, programOf } from "./testing.ts";
import { lookForAdapter, webgpuIdentity } from "./webgpu-place.ts";

const cacheDir = process.env["COXSWAIN_CACHE_DIR"] ?? "";
const isThere = (await availableEngines({ cacheDir })).some(({ name }) => name === "webgpu");

const perceptron = `model: () => ({
  weights: ({ glorotUniform, zeros }) => ({ a: glorotUniform([784, 16]), b: zeros([16]), c: glorotUniform([16, 10]) }),
  forward: (w, x) => tf.matMul(tf.relu(tf.add(tf.matMul(tf.reshape(x, [-1, 784]), w.a), w.b)), w.c) })`;
/** Of the greatest value: two ways to round. */
const relativeError = 1e-5;

function testWebgpu(engine: Engine): void {
  const compile = async (t: TestContext, fields: string, by = engine) =>
    by.compile({ ...mnistOptions, programPath: await programOf(t, fields) });

  test("a gradient is that of the wasm engine up to rounding", async (t) => {
    const [one, other] = [
      await compile(t, perceptron),
      await compile(t, perceptron, await openEngine("wasm", { cacheDir })),
    ];
    const parameters = parametersOf(one);
    deepEqual(parametersOf(other), parameters);
    const [got, wanted] = [one, other].map((program) => gradientOf(program, parameters, 3, 1));
    const greatest = Math.max(...wanted!.map(Math.abs));
    const error = Math.max(...wanted!.map((value, i) => Math.abs(value - got![i]!)));
    t.diagnostic(`greatest difference: ${error / greatest} of the greatest value`);
    ok(error < relativeError * greatest);
    const [loss, reference] = [one, other].map((program) => program.evaluate(parameters, 0, 200));
    ok(Math.abs(loss!["loss"]! - reference!["loss"]!) < relativeError * reference!["loss"]!);
    one.dispose();
  });

  test("the same shard has the same bits again, also of a program compiled anew", async (t) => {
    const [one, two] = [await compile(t, perceptron), await compile(t, perceptron)];
    const parameters = parametersOf(one);
    const first = hashOf(gradientOf(one, parameters, 0, 2));
    notDeepEqual(hashOf(gradientOf(one, parameters, 0, 1)), first);
    one.evaluate(parameters, 0, 100);
    equal(hashOf(gradientOf(one, parameters, 0, 2)), first);
    equal(hashOf(gradientOf(two, parameters, 0, 2)), first);
    one.dispose();
    two.dispose();
  });

  test("what it lacks, what would differ from run to run, and reading back is refused by name", async (t) => {
    const refused = (loss: string) => compile(t, `${perceptron}, loss: (l, o) => ${loss}`);
    const segments =
      "tf.unsortedSegmentSum(tf.neg(o), tf.tensor1d([0, 1, 2, 3, 4, 5, 6, 7], 'int32'), 8)";
    await rejects(
      refused(`tf.sum(${segments}, 1)`),
      /program-invalid.*no operator UnsortedSegmentSum: its sums would differ/,
    );
    await rejects(
      refused("tf.mul(crossEntropy(l, o), 1 + 0 * tf.sum(o).dataSync()[0])"),
      /program-invalid.*cannot read values back while a step runs at program\.mjs/,
    );
  });
}

test("where it is not installed, the error says how to bring it", async () => {
  await rejects(lookForAdapter("/nowhere"), /engine-unavailable.*cox engine install webgpu/);
});

test("the identity names adapter and driver, and software as such", () => {
  const adapter = { vendor: "mesa", architecture: "software", device: "llvmpipe (256 bits)" };
  const described = { ...adapter, description: "llvmpipe: Mesa 25.0.7", isFallbackAdapter: true };
  const { text } = webgpuIdentity(described);
  match(text, / adapter-mesa-software-llvmpipe-256-bits driver-llvmpipe-mesa-25\.0\.7 software /);
});

if (isThere) testWebgpu(await openEngine("webgpu", { cacheDir }));
else test("the webgpu engine", { skip: "it is not installed, or finds no adapter" });
