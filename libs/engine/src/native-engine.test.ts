/** Runs where the native engine is installed: `cox engine install native`. */
import { deepEqual, ok } from "node:assert/strict";
import { basename } from "node:path";
import { test } from "node:test";
import { compileProgram } from "./compile.ts";
import { availableEngines, openEngine } from "./open-engine.ts";
import { digits, mnistOptions, testEngine } from "./testing.ts";

const cacheDir = process.env["COXSWAIN_CACHE_DIR"] ?? "";
const isInstalled = (await availableEngines({ cacheDir })).some(({ name }) => name === "native");
if (isInstalled) {
  const engine = await openEngine("native", { cacheDir });
  testEngine(engine);
  const tiny = digits.replace("digits.mjs", "tiny.mjs");
  for (const programPath of [digits, tiny])
    test(`${basename(programPath)}: a recorded step has the bits of the step operator by operator`, async () => {
      const options = { ...mnistOptions, programPath };
      // The same back end, without a recorder.
      const [recorded, eager] = [
        await engine.compile(options),
        await compileProgram(engine.identity, options),
      ];
      ok(recorded.hash !== eager.hash);
      const parameters = new Float32Array(recorded.layout.parameterFloats);
      recorded.initialize(parameters);
      const vectors = [recorded, eager].map((program) => {
        const out = new Float32Array(program.layout.vectorFloats);
        program.gradient({ step: 5, shard: 1, parameters }, out);
        return out;
      });
      deepEqual(vectors[0], vectors[1]);
    });
} else test("the native engine", { skip: "it is not installed" });
