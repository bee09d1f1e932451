/**
 * The gradient of each model beside PyTorch's, which computes it from the same weights and data in
 * double precision. Runs where a Python with torch is: COXSWAIN_TORCH_PYTHON, or where
 * `npm run bench -- train --install-peers` has put one.
 */
import { ok } from "node:assert/strict";
import { test } from "node:test";
import { shardSamples } from "@coxswain/domain";
import { availableEngines, openEngine } from "./open-engine.ts";
import type { CompiledProgram } from "./port.ts";
import { gradientOf, parametersOf } from "./testing.ts";
import { modelOptions, models, writeProgram } from "./testing-models.ts";
import { askTorch, findTorch } from "./testing-torch.ts";

/** Of float32 against float64, as a part of the greatest value. */
const relativeErrorMax = 2e-6;
const samples = 8;

const script = `
import json, sys, torch
import torch.nn.functional as F
given = json.load(sys.stdin)
def tensor(values, shape): return torch.tensor(values, dtype=torch.float64).reshape(shape)
w = {name: tensor(values, shape).requires_grad_() for name, values, shape in given["weights"]}
x, labels = tensor(given["x"], (4, 6, 8)), tensor(given["labels"], (4, 3))
scope = {"torch": torch, "F": F, "w": w, "x": x}
exec(given["source"], scope)
loss = -(labels * torch.log_softmax(scope["h"], -1)).sum(-1).mean()
loss.backward()
gradients = {name: value.grad.flatten().tolist() for name, value in w.items()}
print(json.dumps({"loss": loss.item(), "gradients": gradients}))
`;

interface FromTorch {
  readonly loss: number;
  readonly gradients: Readonly<Record<string, readonly number[]>>;
}

const cacheDir = process.env["COXSWAIN_CACHE_DIR"] ?? "";

function gradientsOf(
  python: string,
  source: string,
  program: CompiledProgram,
  parameters: Float32Array,
): FromTorch {
  const [first] = shardSamples({ ...modelOptions, samples, step: 0, shard: 0 });
  const x = Array.from({ length: 4 * 48 }, (_, i) =>
    Math.fround(Math.sin((i + 7 * first!) * 12.9898)),
  );
  const labels = Array.from({ length: 12 }, (_, i) => (i % 3 === Math.floor(i / 3) % 3 ? 1 : 0));
  const weights = program.layout.segments.map(({ name, offset, size, shape }) => [
    name,
    [...parameters.subarray(offset, offset + size)],
    shape,
  ]);
  return askTorch<FromTorch>(python, script, { weights, x, labels, source });
}

const python = findTorch(process.env);
const skip = python === undefined ? "no Python with torch was found" : false;
const [best] = await availableEngines({ cacheDir });
const engine = await openEngine(best!.name, { cacheDir });

for (const [name, model] of Object.entries(models)) {
  const { torch } = model;
  if (torch === undefined) continue;
  test(`${best!.name} beside PyTorch: ${name}`, { skip }, async (t) => {
    const program = await engine.compile({
      ...modelOptions,
      programPath: await writeProgram(t, model),
    });
    const parameters = parametersOf(program);
    const vector = gradientOf(program, parameters, 0, 0);
    const theirs = gradientsOf(python!, torch, program, parameters);
    const all = program.layout.segments.flatMap(({ name: weight, offset, size }) =>
      theirs.gradients[weight]!.map((value, i) => ({
        value,
        ours: vector[offset + i]!,
        weight,
        size,
      })),
    );
    const scale = Math.max(...all.map(({ value }) => Math.abs(value)));
    const worst = all.reduce((a, b) =>
      Math.abs(a.value - a.ours) > Math.abs(b.value - b.ours) ? a : b,
    );
    const error = Math.abs(worst.value - worst.ours) / scale;
    t.diagnostic(`greatest difference ${error.toExponential(1)}, in ${worst.weight}`);
    ok(error <= relativeErrorMax, `${worst.weight}: ${worst.ours}, PyTorch ${worst.value}`);
  });
}
