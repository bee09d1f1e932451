/** Optimizers with moving averages of the gradient and of its square. */
import { fromRule, type Optimizer, type Rate, rateOf, requirePositive } from "./optimizer.ts";
import { power } from "./power.ts";
import {
  type Assignment,
  add,
  divide,
  factor,
  gradient,
  multiply,
  parameter,
  scalar,
  slot,
  squareRoot,
  subtract,
  type Term,
} from "./update-rule.ts";

export interface AdamSettings {
  readonly learningRate: Rate;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
}

interface Settled {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}

function settle({ beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 }: Partial<Settled>): Settled {
  requirePositive("epsilon", epsilon);
  return { beta1, beta2, epsilon: Math.fround(epsilon) };
}

/** m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g * g. Scalars 0 to 3. */
const averages: readonly Assignment[] = [
  { to: 0, value: add(multiply(scalar(0), slot(0)), multiply(scalar(1), gradient)) },
  {
    to: 1,
    value: add(multiply(scalar(2), slot(1)), multiply(scalar(3), multiply(gradient, gradient))),
  },
];
const averageScalars = ({ beta1, beta2 }: Settled) => [beta1, 1 - beta1, beta2, 1 - beta2];

/** What the averages lack after `step + 1` steps, since they began at zero. */
const biasesOf = ({ beta1, beta2 }: Settled, step: number) => ({
  mean: 1 - power(beta1, step + 1),
  root: Math.sqrt(1 - power(beta2, step + 1)),
});

/** Adam (Kingma and Ba, ICLR 2015), algorithm 1, with the bias corrections in double. */
export function adam(settings: AdamSettings): Optimizer {
  return adamFamily("adam", settings, undefined);
}

/** Adam with decoupled weight decay: p also loses rate * weightDecay * p (Loshchilov and Hutter, ICLR 2019). */
export function adamW(settings: AdamSettings & { readonly weightDecay?: number }): Optimizer {
  return adamFamily("adamW", settings, settings.weightDecay ?? 0.01);
}

/** Scalars: 4 rate with bias correction, 5 epsilon scaled alike, 6 rate * weightDecay. */
function adamFamily(name: string, settings: AdamSettings, decay: number | undefined): Optimizer {
  const rate = rateOf(settings.learningRate);
  const settled = settle(settings);
  const { beta1, beta2, epsilon } = settled;
  const change = divide(multiply(scalar(4), slot(0)), add(squareRoot(slot(1)), scalar(5)));
  const kept: Term =
    decay === undefined ? parameter : subtract(parameter, multiply(scalar(6), parameter));
  const assignments = [...averages, { to: "parameters" as const, value: subtract(kept, change) }];
  const scalars = (step: number, rateFactor = 1) => {
    const { mean, root } = biasesOf(settled, step);
    const now = rate.at(step) * rateFactor;
    const first = [...averageScalars(settled), (now * root) / mean, epsilon * root];
    return decay === undefined ? first : [...first, now * decay];
  };
  const texts = [rate.text, beta1, beta2, epsilon, ...(decay === undefined ? [] : [decay])];
  const scalarCount = decay === undefined ? 6 : 7;
  return fromRule(`${name}(${texts.join()})`, {
    update: { slotCount: 2, scalarCount, stages: [{ factors: [], assignments }] },
    scalars,
  });
}

/**
 * LAMB (You et al., ICLR 2020), algorithm 2, for large batches: Adam's direction with weight decay,
 * in each tensor as long as the tensor itself.
 *
 *   r = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon) + weightDecay * p
 *   p = p - rate * (|p| / |r|) * r             with 1 in the ratio's place where a norm is 0
 *
 * Scalars: 4 and 5 the bias corrections, 6 epsilon, 7 weightDecay, 8 rate.
 */
export function lamb(settings: AdamSettings & { readonly weightDecay?: number }): Optimizer {
  const rate = rateOf(settings.learningRate);
  const settled = settle({ epsilon: 1e-6, ...settings });
  const { beta1, beta2, epsilon } = settled;
  const decay = settings.weightDecay ?? 0.01;
  const step = divide(
    multiply(scalar(4), slot(0)),
    add(multiply(scalar(5), squareRoot(slot(1))), scalar(6)),
  );
  const direction = add(step, multiply(scalar(7), parameter));
  const trust = {
    ...{ index: 0, over: "tensor" as const, norms: [parameter, direction] },
    value: ([weights = 0, way = 0]: readonly number[]) =>
      weights > 0 && way > 0 ? weights / way : 1,
  };
  const value = subtract(parameter, multiply(multiply(scalar(8), factor(0)), direction));
  return fromRule(`lamb(${[rate.text, beta1, beta2, epsilon, decay].join()})`, {
    update: {
      slotCount: 2,
      scalarCount: 9,
      stages: [
        { factors: [], assignments: averages },
        { factors: [trust], assignments: [{ to: "parameters", value }] },
      ],
    },
    scalars: (at, rateFactor = 1) => {
      const { mean, root } = biasesOf(settled, at);
      const now = rate.at(at) * rateFactor;
      return [...averageScalars(settled), 1 / mean, 1 / root, epsilon, decay, now];
    },
  });
}
