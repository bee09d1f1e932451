import { rejects } from "node:assert/strict";
import { test } from "node:test";
import { gradientOf, parametersOf } from "./testing.ts";
import { modelOptions, writeProgram } from "./testing-models.ts";
import { testOperators } from "./testing-operators.ts";
import { openWasmEngine } from "./wasm-engine.ts";

const engine = await openWasmEngine();
testOperators(engine);

test("an operator that is nowhere in it is refused by name, with the place in the program", async (t) => {
  const forward = `const y = tf.matMul(tf.mean(x, 1), w.out);
    return tf.add(y, tf.real(tf.complex(y, y)));`;
  const programPath = await writeProgram(t, { weights: { out: [8, 3] }, forward });
  const program = await engine.compile({ ...modelOptions, programPath });
  const run = async () => gradientOf(program, parametersOf(program), 0, 0);
  await rejects(run, /program-threw.*no operator Complex at program\.mjs:\d+/);
});
