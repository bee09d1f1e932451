/**
 * The gradient of each model beside PyTorch's, which computes it from the same weights and data in
 * double precision. Runs where a Python with torch is: COXSWAIN_TORCH_PYTHON, or where
 * `npm run bench -- train --install-peers` has put one.
 */
import { ok } from "node:assert/strict";
import { type TestContext, test } from "node:test";
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
x, labels = tensor(given["x"], (4, 6, 8)), tensor(given["labels"], (4, 3))
def gradients(source, weights):
    w = {name: tensor(values, shape).requires_grad_() for name, values, shape in weights}
    scope = {"torch": torch, "F": F, "w": w, "x": x}
    exec(source, scope)
    (-(labels * torch.log_softmax(scope["h"], -1)).sum(-1).mean()).backward()
    return {name: value.grad.flatten().tolist() for name, value in w.items()}
print(json.dumps([gradients(**model) for model in given["models"]]))
`;

/** Of each weight, by its name. */
type Gradients = Readonly<Record<string, readonly number[]>>;

const cacheDir = process.env["COXSWAIN_CACHE_DIR"] ?? "";

interface Compiled {
  readonly name: string;
  readonly source: string;
  readonly program: CompiledProgram;
  readonly parameters: Float32Array;
}

/** One process for all models: importing torch takes seconds. */
function gradientsOf(python: string, compiled: readonly Compiled[]): readonly Gradients[] {
  const [first] = shardSamples({ ...modelOptions, samples, step: 0, shard: 0 });
  const x = Array.from({ length: 4 * 48 }, (_, i) =>
    Math.fround(Math.sin((i + 7 * first!) * 12.9898)),
  );
  const labels = Array.from({ length: 12 }, (_, i) => (i % 3 === Math.floor(i / 3) % 3 ? 1 : 0));
  const asked = compiled.map(({ source, program, parameters }) => ({
    source,
    weights: program.layout.segments.map(({ name, offset, size, shape }) => [
      name,
      [...parameters.subarray(offset, offset + size)],
      shape,
    ]),
  }));
  return askTorch<Gradients[]>(python, script, { x, labels, models: asked });
}

const python = findTorch(process.env);
const skip = python === undefined ? "no Python with torch was found" : false;
const [best] = await availableEngines({ cacheDir });
const engine = await openEngine(best!.name, { cacheDir });

async function compile(t: TestContext): Promise<Compiled[]> {
  const compiled: Compiled[] = [];
  for (const [name, model] of Object.entries(models)) {
    if (model.torch === undefined) continue;
    const programPath = await writeProgram(t, model);
    const program = await engine.compile({ ...modelOptions, programPath });
    compiled.push({ name, source: model.torch, program, parameters: parametersOf(program) });
  }
  return compiled;
}

test(`${best!.name} has PyTorch's gradients`, { skip }, async (t) => {
  const compiled = await compile(t);
  const theirs = gradientsOf(python!, compiled);
  for (const [index, { name, program, parameters }] of compiled.entries()) {
    const vector = gradientOf(program, parameters, 0, 0);
    const all = program.layout.segments.flatMap(({ name: weight, offset }) =>
      theirs[index]![weight]!.map((value, i) => ({ value, ours: vector[offset + i]!, weight })),
    );
    const scale = Math.max(...all.map(({ value }) => Math.abs(value)));
    const errorOf = ({ value, ours }: { readonly value: number; readonly ours: number }) =>
      Math.abs(value - ours) / scale;
    const worst = all.reduce((a, b) => (errorOf(a) > errorOf(b) ? a : b));
    t.diagnostic(`${name}: ${errorOf(worst).toExponential(1)} at most, in ${worst.weight}`);
    const words = `${name}, ${worst.weight}: ${worst.ours}, PyTorch ${worst.value}`;
    ok(errorOf(worst) <= relativeErrorMax, words);
  }
});
