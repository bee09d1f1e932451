/** Gradients that are held within limits before an optimizer sees them. */
import { AppError } from "@coxswain/domain";
import { fromRule, type Optimizer, requirePositive, type StepRule } from "./optimizer.ts";
import {
  type Factor,
  factor,
  factorsOf,
  gradient,
  maximum,
  minimum,
  multiply,
  scalar,
  type Term,
  type UpdateStage,
} from "./update-rule.ts";

/** Against a norm of 0. */
const tiny = 1e-6;

/** Each element of the gradient within -limit <= g <= limit. */
export function clipByValue(optimizer: Optimizer, limit: number): Optimizer {
  requirePositive("the limit of the gradient's elements", limit);
  const { update, scalars } = ruleOf(optimizer);
  const index = update.scalarCount;
  const held = maximum(minimum(gradient, scalar(index)), scalar(index + 1));
  return fromRule(`clipByValue(${limit},${optimizer.identity})`, {
    update: { ...update, scalarCount: index + 2, stages: withGradient(update.stages, held) },
    scalars: (step, rateFactor) => [...scalars(step, rateFactor), limit, -limit],
  });
}

/** g * min(1, limit / (|g| + 1e-6)), where |g| is the norm of the whole gradient (Pascanu et al., ICML 2013). */
export function clipByGlobalNorm(optimizer: Optimizer, limit: number): Optimizer {
  return clipByNormOf("all", optimizer, limit);
}

/** The same in each tensor of parameters by its own norm. */
export function clipByNorm(optimizer: Optimizer, limit: number): Optimizer {
  return clipByNormOf("tensor", optimizer, limit);
}

function clipByNormOf(over: Factor["over"], optimizer: Optimizer, limit: number): Optimizer {
  requirePositive("the limit of the gradient's norm", limit);
  const { update, scalars } = ruleOf(optimizer);
  const index = factorsOf(update).length;
  const value = ([norm = 0]: readonly number[]) => Math.min(1, limit / (norm + tiny));
  const made: Factor = { index, over, norms: [gradient], value };
  const before = { factors: [made], assignments: [] };
  const held = multiply(gradient, factor(index));
  const name = over === "all" ? "clipByGlobalNorm" : "clipByNorm";
  return fromRule(`${name}(${limit},${optimizer.identity})`, {
    update: { ...update, stages: [before, ...withGradient(update.stages, held)] },
    scalars,
  });
}

function ruleOf({ identity, rule }: Optimizer): StepRule {
  if (rule !== undefined) return rule;
  throw new AppError("program-invalid", `${identity} is no rule: it must clip by itself`);
}

/** The stages with another term in the gradient's place. */
function withGradient(stages: readonly UpdateStage[], held: Term): UpdateStage[] {
  return stages.map(({ factors, assignments }) => ({
    factors: factors.map((made) => ({
      ...made,
      norms: made.norms.map((term) => replaced(term, held)),
    })),
    assignments: assignments.map(({ to, value }) => ({ to, value: replaced(value, held) })),
  }));
}

function replaced(term: Term, held: Term): Term {
  switch (term.kind) {
    case "vector":
      return term.vector === "gradient" ? held : term;
    case "scalar":
    case "factor":
      return term;
    case "squareRoot":
      return { ...term, of: replaced(term.of, held) };
    default:
      return { ...term, left: replaced(term.left, held), right: replaced(term.right, held) };
  }
}
