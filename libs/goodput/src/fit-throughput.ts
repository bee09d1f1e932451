/**
 * The step model that fits best to what was measured.
 *
 * Minimised is
 *
 *   rmsle(grad) + rmsle(step) + 1e-3 (gamma - 1)^2
 *     + 1e-2 ((betaNodes/alphaNodes)^2 + (betaLocal/alphaLocal)^2)
 *
 * (rmsle: root of the mean squared difference of logarithms), in the logarithms of the six times,
 * in which the function is well scaled. What was never observed is believed free of cost: with one
 * local batch seen half of its time is fixed; without workers on several nodes, or without several
 * workers on one, the exchange there costs nothing; and it grows with the workers only once two
 * different counts were seen there. So an untried count looks good, is tried, and then is known.
 * Objective and priors after Pollux (OSDI'21, section 4.1). Its authors free the growth as soon as
 * more than two workers were seen anywhere: from one count, offset and growth cannot be told apart,
 * and a job then stays small for ever because a guess says that more would not pay.
 */
import { assert } from "@coxswain/domain";
import { type Box, minimize } from "./minimize.ts";
import { type StepModel, secondsMin } from "./throughput.ts";

/** One measured configuration; a median when it was measured often. */
export interface StepObservation {
  readonly nodes: number;
  readonly workers: number;
  /** Samples that a worker computes at once. */
  readonly samples: number;
  /** Batches accumulated before the one that is exchanged; 0 where absent. */
  readonly accumulated?: number;
  /** Of one batch without the exchange; absent where it is not measured. */
  readonly gradSeconds?: number;
  readonly stepSeconds: number;
}

/** Indices of the variables: six logarithms of times, then gamma. */
const [alphaGrad, betaGrad, alphaNodes, betaNodes, alphaLocal, betaLocal, gamma] = [
  0, 1, 2, 3, 4, 5, 6,
] as const;
const floor = Math.log(secondsMin);
/** Smooths the root at 0, where its slope jumps. */
const rootSmoothing = 1e-8;

/** @throws AssertionError when nothing was observed, or a time is not positive. */
export function fitThroughput(observations: readonly StepObservation[]): StepModel {
  assert(observations.length > 0, "something was measured");
  assert(
    observations.every((one) => one.stepSeconds > 0 && (one.gradSeconds ?? 1) > 0),
    "measured times are positive",
  );
  const { start, box } = priorsOf(observations);
  const { x } = minimize((at, slope) => errorOf(observations, at, slope), start, box);
  const model = modelOf(x);
  if (observations.some(({ nodes }) => nodes > 1)) return model;
  return {
    ...model,
    alphaNodes: Math.max(model.alphaNodes, model.alphaLocal * 1.1),
    betaNodes: Math.max(model.betaNodes, model.betaLocal * 1.1),
  };
}

function priorsOf(observations: readonly StepObservation[]): { start: number[]; box: Box } {
  const scale = Math.log(median(observations.map(gradOf)));
  const start = [scale - 0.7, scale - 4, scale - 1, scale - 4, scale - 1, scale - 4, 1.001];
  const lower = [floor, floor, floor, floor, floor, floor, 1];
  const upper = [12, 12, 12, 12, 12, 12, 10];
  const fix = (index: number, value: number) => {
    start[index] = lower[index] = upper[index] = value;
  };
  if (new Set(observations.map(({ samples }) => samples)).size === 1)
    fix(alphaGrad, Math.log(mean(observations.map(gradOf)) / 2));
  if (!observations.some(({ nodes }) => nodes > 1)) {
    fix(alphaNodes, floor);
    fix(betaNodes, floor);
  }
  if (!observations.some(({ nodes, workers }) => nodes === 1 && workers > 1)) {
    fix(alphaLocal, floor);
    fix(betaLocal, floor);
  }
  // Whole steps of one count do not tell computing from the exchange.
  const isBlind = observations.every((one) => one.gradSeconds === undefined);
  if (isBlind && new Set(observations.map(({ workers }) => workers)).size === 1) {
    fix(alphaNodes, floor);
    fix(alphaLocal, floor);
  }
  if (countsOf(observations, (nodes) => nodes > 1) < 2) fix(betaNodes, floor);
  if (countsOf(observations, (nodes) => nodes === 1) < 2) fix(betaLocal, floor);
  return { start, box: { lower, upper } };
}

/** Different numbers of workers, two or more, that were seen on one node, or on several. */
function countsOf(
  observations: readonly StepObservation[],
  isSpread: (nodes: number) => boolean,
): number {
  const seen = observations.filter(({ nodes, workers }) => isSpread(nodes) && workers > 1);
  return new Set(seen.map(({ workers }) => workers)).size;
}

/** The time of one batch, as far as it is known. */
const gradOf = ({ gradSeconds, stepSeconds, accumulated }: StepObservation) =>
  gradSeconds ?? stepSeconds / ((accumulated ?? 0) + 1);

function modelOf(x: readonly number[]): StepModel {
  const at = (index: number) => Math.exp(x[index]!);
  return {
    alphaGrad: at(alphaGrad),
    betaGrad: at(betaGrad),
    alphaNodes: at(alphaNodes),
    betaNodes: at(betaNodes),
    alphaLocal: at(alphaLocal),
    betaLocal: at(betaLocal),
    gamma: x[gamma]!,
  };
}

/** The objective at `x`; its gradient goes to `slope`. Derivatives are by the logarithms. */
export function errorOf(
  observations: readonly StepObservation[],
  x: readonly number[],
  slope: number[],
): number {
  slope.fill(0);
  const slopeGrad = slope.map(() => 0);
  const slopeStep = slope.map(() => 0);
  let squaresGrad = 0;
  let squaresStep = 0;
  let known = 0;
  for (const observation of observations) {
    const { grad, step, byGrad, byStep } = derivativesOf(observation, x);
    const missStep = Math.log(step / observation.stepSeconds);
    squaresStep += missStep ** 2;
    for (let i = 0; i < byStep.length; i += 1) slopeStep[i]! += missStep * byStep[i]!;
    if (observation.gradSeconds === undefined) continue;
    known += 1;
    const missGrad = Math.log(grad / observation.gradSeconds);
    squaresGrad += missGrad ** 2;
    for (let i = 0; i < byGrad.length; i += 1) slopeGrad[i]! += missGrad * byGrad[i]!;
  }
  const rootStep = Math.sqrt(squaresStep / observations.length + rootSmoothing);
  const rootGrad = known === 0 ? 0 : Math.sqrt(squaresGrad / known + rootSmoothing);
  for (let i = 0; i < slope.length; i += 1) {
    slope[i] = slopeStep[i]! / observations.length / rootStep;
    if (known > 0) slope[i]! += slopeGrad[i]! / known / rootGrad;
  }
  return rootStep + rootGrad + penalty(x, slope);
}

/** Keeps gamma and the growth with the number of workers small; adds to `slope`. */
function penalty(x: readonly number[], slope: number[]): number {
  let value = 1e-3 * (x[gamma]! - 1) ** 2;
  slope[gamma]! += 2e-3 * (x[gamma]! - 1);
  for (const [alpha, beta] of [
    [alphaNodes, betaNodes],
    [alphaLocal, betaLocal],
  ] as const) {
    const term = 1e-2 * Math.exp(2 * (x[beta]! - x[alpha]!));
    value += term;
    slope[beta]! += 2 * term;
    slope[alpha]! -= 2 * term;
  }
  return value;
}

/** Predicted times, and the derivatives of their logarithms by the seven variables. */
function derivativesOf(
  { nodes, workers, samples, accumulated = 0 }: StepObservation,
  x: readonly number[],
) {
  const fixed = Math.exp(x[alphaGrad]!);
  const grown = Math.exp(x[betaGrad]!) * samples;
  const grad = fixed + grown;
  const [alpha, beta] = nodes > 1 ? [alphaNodes, betaNodes] : [alphaLocal, betaLocal];
  const syncFixed = workers > 1 ? Math.exp(x[alpha]!) : secondsMin;
  const syncGrown = workers > 2 ? Math.exp(x[beta]!) * (workers - 2) : 0;
  const sync = syncFixed + syncGrown;
  const g = x[gamma]!;
  const ratio = (sync / grad) ** g;
  const both = grad * (1 + ratio) ** (1 / g);
  const step = accumulated * grad + both;
  const shareGrad = both / (1 + ratio); // grad * d both / d grad
  const shareSync = both - shareGrad;
  const byGrad = [fixed / grad, grown / grad, 0, 0, 0, 0, 0];
  const byStep = byGrad.map((part) => (part * (accumulated * grad + shareGrad)) / step);
  if (workers > 1) byStep[alpha] = (shareSync * (syncFixed / sync)) / step;
  if (workers > 2) byStep[beta] = (shareSync * (syncGrown / sync)) / step;
  // d ln(both) / d gamma, with ln(both) = ln(grad) + ln(1 + ratio) / gamma
  const byGamma = (ratio / (1 + ratio)) * (Math.log(sync / grad) / g) - Math.log1p(ratio) / g ** 2;
  byStep[gamma] = (byGamma * both) / step;
  return { grad, step, byGrad, byStep };
}

const mean = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
