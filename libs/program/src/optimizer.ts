/**
 * Optimizers, element-wise on flat float32 vectors. Every operation is rounded to float32 once, so a
 * worker may update any range and the bits are the same.
 */

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
}

const { fround } = Math;

function rateOf(learningRate: number | Schedule): { readonly at: Schedule; readonly text: string } {
  if (typeof learningRate === "number")
    return { at: () => learningRate, text: String(learningRate) };
  return { at: learningRate, text: learningRate.toString() };
}

/** p = p - rate * g */
export function sgd(settings: { readonly learningRate: number | Schedule }): Optimizer {
  const rate = rateOf(settings.learningRate);
  return {
    identity: `sgd(${rate.text})`,
    slotCount: 0,
    update: ({ step, parameters, gradient, from, to }) => {
      const learningRate = fround(rate.at(step));
      for (let i = from; i < to; i += 1)
        parameters[i] = parameters[i]! - fround(learningRate * gradient[i]!);
    },
  };
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
  return {
    identity: `momentum(${rate.text},${mass},${isNesterov})`,
    slotCount: 1,
    update: ({ step, parameters, slots, gradient, from, to }) => {
      const learningRate = fround(rate.at(step));
      const velocity = slots[0]!;
      for (let i = from; i < to; i += 1) {
        const v = fround(fround(mass * velocity[i]!) + gradient[i]!);
        velocity[i] = v;
        const direction = isNesterov ? fround(fround(mass * v) + gradient[i]!) : v;
        parameters[i] = parameters[i]! - fround(learningRate * direction);
      }
    },
  };
}

/** Adam (Kingma and Ba, ICLR 2015), algorithm 1, with the bias corrections in double. */
export function adam(settings: {
  readonly learningRate: number | Schedule;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
}): Optimizer {
  const rate = rateOf(settings.learningRate);
  const beta1 = settings.beta1 ?? 0.9;
  const beta2 = settings.beta2 ?? 0.999;
  const epsilon = fround(settings.epsilon ?? 1e-8);
  const [b1, b2, r1, r2] = [fround(beta1), fround(beta2), fround(1 - beta1), fround(1 - beta2)];
  return {
    identity: `adam(${rate.text},${beta1},${beta2},${epsilon})`,
    slotCount: 2,
    update: ({ step, parameters, slots, gradient, from, to }) => {
      const [mean, square] = [slots[0]!, slots[1]!];
      const alpha = fround(
        (rate.at(step) * Math.sqrt(1 - power(beta2, step + 1))) / (1 - power(beta1, step + 1)),
      );
      const scaledEpsilon = fround(epsilon * Math.sqrt(1 - power(beta2, step + 1)));
      for (let i = from; i < to; i += 1) {
        const g = gradient[i]!;
        const m = fround(fround(b1 * mean[i]!) + fround(r1 * g));
        const v = fround(fround(b2 * square[i]!) + fround(r2 * fround(g * g)));
        mean[i] = m;
        square[i] = v;
        parameters[i] =
          parameters[i]! - fround(fround(alpha * m) / fround(fround(Math.sqrt(v)) + scaledEpsilon));
      }
    },
  };
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
