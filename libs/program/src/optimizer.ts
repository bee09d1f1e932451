/**
 * Optimizers, element-wise on flat float32 vectors. Every operation is rounded to float32 once, so a
 * worker may update any range and the bits are the same.
 */
import {
  add,
  applyRule,
  divide,
  gradient,
  multiply,
  parameter,
  scalar,
  slot,
  squareRoot,
  subtract,
  type Term,
  type UpdateRule,
} from "./update-rule.ts";

/** Learning rate as a pure function of the step, counted from 0. */
export type Schedule = (step: number) => number;

export interface UpdateState {
  /** From 0. */
  readonly step: number;
  readonly parameters: Float32Array;
  readonly slots: readonly Float32Array[];
  readonly gradient: Float32Array;
  readonly from: number;
  readonly to: number;
}

export interface Optimizer {
  /** Name and settings; part of the compiled program's hash. */
  readonly identity: string;
  readonly slotCount: number;
  update(state: UpdateState): void;
  /** The same as data, where it is data: what runs it may be faster, and has the same bits. */
  readonly rule?: {
    readonly update: UpdateRule;
    /** Numbers of a step, counted from 0; rounded to float32 before use. */
    readonly scalars: (step: number) => readonly number[];
  };
}

const { fround } = Math;

function rateOf(learningRate: number | Schedule): { readonly at: Schedule; readonly text: string } {
  if (typeof learningRate === "number")
    return { at: () => learningRate, text: String(learningRate) };
  return { at: learningRate, text: learningRate.toString() };
}

function fromRule(identity: string, rule: NonNullable<Optimizer["rule"]>): Optimizer {
  return {
    identity,
    slotCount: rule.update.slotCount,
    rule,
    update: ({ step, from, to, ...vectors }) =>
      applyRule(rule.update, vectors, rule.scalars(step), { from, to }),
  };
}

/** p = p - rate * g */
export function sgd(settings: { readonly learningRate: number | Schedule }): Optimizer {
  const rate = rateOf(settings.learningRate);
  const value = subtract(parameter, multiply(scalar(0), gradient));
  return fromRule(`sgd(${rate.text})`, {
    update: { slotCount: 0, scalarCount: 1, assignments: [{ to: "parameters", value }] },
    scalars: (step) => [rate.at(step)],
  });
}

/** v = momentum * v + g; p = p - rate * v, or with `nesterov` p = p - rate * (momentum * v + g) */
export function momentum(settings: {
  readonly learningRate: number | Schedule;
  readonly momentum?: number;
  readonly nesterov?: boolean;
}): Optimizer {
  const rate = rateOf(settings.learningRate);
  const mass = fround(settings.momentum ?? 0.9);
  const isNesterov = settings.nesterov ?? false;
  const withMass = add(multiply(scalar(1), slot(0)), gradient);
  const direction = isNesterov ? withMass : slot(0);
  return fromRule(`momentum(${rate.text},${mass},${isNesterov})`, {
    update: {
      slotCount: 1,
      scalarCount: 2,
      assignments: [
        { to: 0, value: withMass },
        { to: "parameters", value: subtract(parameter, multiply(scalar(0), direction)) },
      ],
    },
    scalars: (step) => [rate.at(step), mass],
  });
}

export interface AdamSettings {
  readonly learningRate: number | Schedule;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
}

/** Adam (Kingma and Ba, ICLR 2015), algorithm 1, with the bias corrections in double. */
export function adam(settings: AdamSettings): Optimizer {
  return adamFamily("adam", settings, undefined);
}

/** Adam with decoupled weight decay: p also loses rate * weightDecay * p (Loshchilov and Hutter, ICLR 2019). */
export function adamW(settings: AdamSettings & { readonly weightDecay?: number }): Optimizer {
  return adamFamily("adamW", settings, settings.weightDecay ?? 0.01);
}

/**
 * Scalars: 0 rate with bias correction, 1 epsilon scaled alike, 2 beta1, 3 1 - beta1, 4 beta2,
 * 5 1 - beta2, 6 rate * weightDecay.
 */
function adamFamily(name: string, settings: AdamSettings, decay: number | undefined): Optimizer {
  const rate = rateOf(settings.learningRate);
  const { beta1 = 0.9, beta2 = 0.999 } = settings;
  const epsilon = fround(settings.epsilon ?? 1e-8);
  const mean = add(multiply(scalar(2), slot(0)), multiply(scalar(3), gradient));
  const square = add(
    multiply(scalar(4), slot(1)),
    multiply(scalar(5), multiply(gradient, gradient)),
  );
  const change = divide(multiply(scalar(0), slot(0)), add(squareRoot(slot(1)), scalar(1)));
  const kept: Term =
    decay === undefined ? parameter : subtract(parameter, multiply(scalar(6), parameter));
  const scalars = (step: number) => {
    const correction = Math.sqrt(1 - power(beta2, step + 1));
    const alpha = (rate.at(step) * correction) / (1 - power(beta1, step + 1));
    const fixed = [beta1, 1 - beta1, beta2, 1 - beta2];
    const first = [alpha, epsilon * correction, ...fixed];
    return decay === undefined ? first : [...first, rate.at(step) * decay];
  };
  const assignments = [
    { to: 0, value: mean },
    { to: 1, value: square },
    { to: "parameters" as const, value: subtract(kept, change) },
  ];
  const settled = [rate.text, beta1, beta2, epsilon, ...(decay === undefined ? [] : [decay])];
  const scalarCount = decay === undefined ? 6 : 7;
  return fromRule(`${name}(${settled.join()})`, {
    update: { slotCount: 2, scalarCount, assignments },
    scalars,
  });
}

/** base^exponent by squaring: `Math.pow` is approximated differently by different engines. */
function power(base: number, exponent: number): number {
  let result = 1;
  let factor = base;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result *= factor;
    factor *= factor;
  }
  return result;
}
