import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { decideSubmission } from "./decide-submission.ts";
import {
  type EngineSpec,
  engineLike,
  engineText,
  isEngineAsked,
  needsGpu,
  settingsOf,
} from "./engine.ts";

const engines = {
  native: { name: "native", identity: "native tensorflow-2 cpu-1234 v8-13.6" },
  avx2: { name: "native", identity: "native tensorflow-2 isa-avx2 v8-13.6" },
  avx512: { name: "native", identity: "native tensorflow-2 isa-avx512 v8-13.6" },
  xla: { name: "native", identity: "native tensorflow-2 xla cpu-1234 v8-13.6" },
  gpu: { name: "native", identity: "native tensorflow-2 gpu-1234 v8-13.6" },
  wasm: { name: "wasm", identity: "wasm tfjs-4" },
  webgpu: { name: "webgpu", identity: "webgpu dawn-0.6 adapter-one" },
};

const cases: readonly (readonly [EngineSpec, readonly string[]])[] = [
  ["auto", ["native", "gpu", "wasm"]],
  ["native", ["native", "gpu"]],
  ["wasm", ["wasm"]],
  ["webgpu", ["webgpu"]],
  [{ name: "native" }, ["native", "gpu"]],
  [{ name: "native", isa: "avx2" }, ["avx2"]],
  [{ name: "native", isa: "avx512" }, ["avx512"]],
  [{ name: "native", xla: true }, ["xla"]],
  [{ name: "native", xla: false }, ["native", "gpu"]],
];
for (const [asked, allowed] of cases)
  test(`${JSON.stringify(asked)} allows ${allowed.join(", ")}`, () => {
    const names = Object.entries(engines).filter(([, one]) => isEngineAsked(asked, one));
    deepEqual(
      names.map(([name]) => name),
      allowed,
    );
  });

test("the identity says the level of instructions, whether XLA compiles, and whether it needs a GPU", () => {
  deepEqual(settingsOf(engines.avx2.identity), { isa: "avx2" });
  deepEqual(settingsOf(engines.xla.identity), { xla: true });
  deepEqual(settingsOf("native misa-avx2 isa-avx22 xlab"), {});
  deepEqual(
    Object.values(engines)
      .map(({ identity }) => needsGpu(identity))
      .indexOf(true),
    4,
  );
});

test("an engine made up for what is asked is allowed", () => {
  for (const [asked] of cases) equal(isEngineAsked(asked, engineLike(asked)), true);
});

test("what was asked for, in words", () => {
  equal(engineText("native"), "native");
  equal(engineText({ name: "native", isa: "avx2" }), "native held to avx2");
  equal(engineText({ name: "native", xla: true }), "native with XLA");
});

const document = (engine: unknown) => ({
  apiVersion: "coxswain.dev/v1",
  kind: "TrainingJob",
  metadata: { name: "one" },
  spec: { program: `sha256:${"0".repeat(64)}`, steps: 1, workers: { min: 1, max: 1 }, engine },
});

test("an engine that does not exist is one violation that names those that do", () => {
  equal(decideSubmission(document({ name: "native", isa: "avx2" })).kind, "valid");
  equal(decideSubmission(document({ name: "native", xla: true })).kind, "valid");
  const unknown = ["abacus", { name: "native", isa: "mmx" }, { name: "native", xla: 1 }, 7];
  const mixed = [
    { name: "wasm", isa: "avx2" },
    { name: "native", isa: "avx2", xla: true },
  ];
  for (const engine of [...unknown, ...mixed])
    deepEqual(decideSubmission(document(engine)), {
      kind: "invalid",
      violations: [
        {
          pointer: "/spec/engine",
          detail:
            "Use auto, native, wasm, webgpu, {name: native, isa: avx2 or avx512}, or {name: native, xla: true}.",
        },
      ],
    });
});
