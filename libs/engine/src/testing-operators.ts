/**
 * What models are made of, on an engine: the gradient against finite differences, and a recorded step
 * against the step operator by operator.
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { canRecord } from "./open-engine.ts";
import type { CompiledProgram, Engine } from "./port.ts";
import { gradientOf, parametersOf } from "./testing.ts";
import { type Model, modelOptions, models, writeProgram } from "./testing-models.ts";

const options = modelOptions;
const shift = 1e-2;

/** Central differences at a few places of each weight; those that a kink lies near are few. */
function checkSlopes(program: CompiledProgram, parameters: Float32Array, gradient: Float32Array) {
  const { parameterFloats, segments } = program.layout;
  const lossAt = (at: number, by: number) => {
    const moved = parameters.slice();
    moved[at]! += by;
    // A program keeps a step's parameters; an evaluation between makes it look again.
    program.evaluate(moved, 0, 1);
    return gradientOf(program, moved, 0, 0)[parameterFloats]!;
  };
  for (const { name, offset, size } of segments.filter(({ trained }) => trained !== false))
    for (const share of [0, 0.4, 0.9]) {
      const at = offset + Math.floor(size * share);
      const slope = (lossAt(at, shift) - lossAt(at, -shift)) / (2 * shift);
      const error = Math.abs(slope - gradient[at]!);
      ok(error < 2e-3 + 0.02 * Math.abs(slope), `${name}: ${slope} against ${gradient[at]}`);
    }
}

function testModel(engine: Engine, name: string, model: Model): void {
  test(`${engine.identity.name}: ${name}`, async (t) => {
    const programPath = await writeProgram(t, model);
    const program = await engine.compile({ ...options, programPath });
    const parameters = parametersOf(program);
    const gradient = gradientOf(program, parameters, 0, 0);
    ok(gradient.every(Number.isFinite));
    checkSlopes(program, parameters, gradient);
    if (!canRecord(engine.identity.name)) return;
    equal(program.mode, "recorded");
    const eager = await engine.compile({ ...options, programPath }, "eager");
    const byOperators = gradientOf(eager, parameters, 0, 0);
    const difference = Math.max(...gradient.map((value, i) => Math.abs(value - byOperators[i]!)));
    const scale = Math.max(...byOperators.map(Math.abs));
    t.diagnostic(
      `recorded against operator by operator: ${difference / scale} of the greatest value`,
    );
    if (model.relativeError === undefined) ok(difference === 0, `differs by ${difference}`);
    else ok(difference <= model.relativeError * scale);
  });
}

/** Several shards at once have the bits of one by one, where their operators let them. */
function testSeveral(engine: Engine, name: string, model: Model): void {
  test(`${engine.identity.name}, several shards at once: ${name}`, async (t) => {
    const programPath = await writeProgram(t, model);
    const program = await engine.compile({ ...options, programPath, batchSize: 16, shards: 4 });
    const parameters = parametersOf(program);
    const runs = program.shardRuns!;
    const summed = (count: number) => {
      const started = [0, 1, 2, 3]
        .filter((shard) => shard % count === 0)
        .map((shard) => runs.start({ step: 1, shard, count, parameters }));
      const out = new Float32Array(program.layout.vectorFloats);
      runs.sum(started.flat(), out);
      return { out, runs: started.flat().length };
    };
    const oneByOne = summed(1);
    equal(oneByOne.runs, 4);
    for (const count of [2, 4]) {
      equal(runs.atOnce(count), 1, "whoever asks first does not wait for a look");
      equal(runs.atOnce(count), model.isOneByOne ? 1 : count);
      if (model.isOneByOne) continue;
      const atOnce = summed(count);
      equal(atOnce.runs, 4 / count, "the bits were seen to be the same");
      deepEqual(atOnce.out, oneByOne.out);
    }
  });
}

export function testOperators(engine: Engine): void {
  for (const [name, model] of Object.entries(models)) {
    testModel(engine, name, model);
    if (canRecord(engine.identity.name)) testSeveral(engine, name, model);
  }
}
