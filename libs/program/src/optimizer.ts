/**
 * Optimizers on flat float32 vectors, as rules. Every worker applies the same reduced gradient to
 * the same parameters; every operation is rounded to float32 once and every norm is taken in one
 * fixed order, so the bits are the same in all of them.
 */
import { AppError } from "@coxswain/domain";
import type { Range } from "./norms.ts";
import { identityOf, type Schedule } from "./schedule.ts";
import {
  add,
  applyRule,
  gradient,
  multiply,
  parameter,
  scalar,
  slot,
  subtract,
  type UpdateRule,
} from "./update-rule.ts";

export interface UpdateState {
  /** From 0; of an update that takes several, the first. */
  readonly step: number;
  /** What the learning rate is multiplied with, since the batch has grown; default 1. */
  readonly rateFactor?: number;
  readonly parameters: Float32Array;
  readonly slots: readonly Float32Array[];
  readonly gradient: Float32Array;
  /** Where each tensor lies, padding included: together the whole vector, in order. */
  readonly tensors: readonly Range[];
}

/**
 * A rule, and the numbers of a step, counted from 0; they are rounded to float32 before use. The
 * learning rate is multiplied with `rateFactor`; absent: 1.
 */
export interface StepRule {
  readonly update: UpdateRule;
  readonly scalars: (step: number, rateFactor?: number) => readonly number[];
}

export interface Optimizer {
  /** Name and settings; part of the compiled program's hash. */
  readonly identity: string;
  readonly slotCount: number;
  /** In place, on whole vectors. */
  update(state: UpdateState): void;
  /** The same as data, where it is data: what runs it may be faster, and has the same bits. */
  readonly rule?: StepRule;
}

/** Fixed, or a function of the step. */
export type Rate = number | Schedule;

export function rateOf(rate: Rate): { readonly at: Schedule; readonly text: string } {
  if (typeof rate === "number") return { at: () => rate, text: String(rate) };
  return { at: rate, text: identityOf(rate) };
}

export function fromRule(identity: string, rule: StepRule): Optimizer {
  return {
    identity,
    slotCount: rule.update.slotCount,
    rule,
    update: ({ step, rateFactor, tensors, ...vectors }) =>
      applyRule(rule.update, vectors, { scalars: rule.scalars(step, rateFactor), tensors }),
  };
}

/** @throws AppError `program-invalid` */
export function requirePositive(what: string, value: number): void {
  if (value > 0 && Number.isFinite(value)) return;
  throw new AppError("program-invalid", `${what} is ${value}; it must be greater than 0`);
}

/** p = p - rate * g */
export function sgd(settings: { readonly learningRate: Rate }): Optimizer {
  const rate = rateOf(settings.learningRate);
  const value = subtract(parameter, multiply(scalar(0), gradient));
  const assignments = [{ to: "parameters" as const, value }];
  return fromRule(`sgd(${rate.text})`, {
    update: { slotCount: 0, scalarCount: 1, stages: [{ factors: [], assignments }] },
    scalars: (step, rateFactor = 1) => [rate.at(step) * rateFactor],
  });
}

/** v = momentum * v + g; p = p - rate * v, or with `nesterov` p = p - rate * (momentum * v + g) */
export function momentum(settings: {
  readonly learningRate: Rate;
  readonly momentum?: number;
  readonly nesterov?: boolean;
}): Optimizer {
  const rate = rateOf(settings.learningRate);
  const mass = Math.fround(settings.momentum ?? 0.9);
  const isNesterov = settings.nesterov ?? false;
  const withMass = add(multiply(scalar(1), slot(0)), gradient);
  const direction = isNesterov ? withMass : slot(0);
  const assignments = [
    { to: 0, value: withMass },
    {
      to: "parameters" as const,
      value: subtract(parameter, multiply(scalar(0), direction)),
    },
  ];
  return fromRule(`momentum(${rate.text},${mass},${isNesterov})`, {
    update: { slotCount: 1, scalarCount: 2, stages: [{ factors: [], assignments }] },
    scalars: (step, rateFactor = 1) => [rate.at(step) * rateFactor, mass],
  });
}
