/** A program with its model on TensorFlow.js: what compiling it, and running it there, begin with. */
import { layoutOf } from "./layout.ts";
import { buildModel } from "./model.ts";
import type { OpenedProgram } from "./open-program.ts";
import type { CompileOptions, Layout } from "./port.ts";
import { ShardPlan } from "./shard-plan.ts";
import { Step, type StepParts } from "./step.ts";

export interface Parts extends StepParts {
  readonly opened: OpenedProgram;
  readonly layout: Layout;
  readonly step: Step;
}

export function partsOf(opened: OpenedProgram, options: CompileOptions): Parts {
  const { program, data, optimizer, context } = opened;
  const model = buildModel(program, context);
  const metricNames = ["loss", ...Object.keys(program.metrics ?? {})];
  const layout = layoutOf(model.weights, metricNames, optimizer.slotCount);
  const stepParts = { program, model, plan: new ShardPlan(data, layout, options), options };
  return { ...stepParts, opened, layout, step: new Step(stepParts) };
}

type Modelled = Pick<Parts, "layout" | "model">;

/** Fills [parameterFloats] with what the seed gives. */
export function initialize({ layout, model }: Modelled, parameters: Float32Array): void {
  parameters.fill(0, 0, layout.parameterFloats);
  for (const [index, { offset }] of layout.segments.entries())
    parameters.set(model.initial(index), offset);
}

/** The model has these parameters from now on. */
export function load({ layout, model }: Modelled, parameters: Float32Array): void {
  for (const [index, { offset, size }] of layout.segments.entries())
    model.assign(index, parameters.subarray(offset, offset + size));
}
