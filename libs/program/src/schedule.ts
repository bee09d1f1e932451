/**
 * Learning rates over the course of a training, as pure functions of the step: a job that was
 * restored, or has other workers, goes on with the same rate.
 */
import { AppError } from "@coxswain/domain";
import { cosineOfPi, power } from "./power.ts";

/** Learning rate as a pure function of the step, counted from 0. */
export interface Schedule {
  (step: number): number;
  /** Name and settings; absent, the function's text stands for it. */
  readonly identity?: string;
}

export const identityOf = (schedule: Schedule): string => schedule.identity ?? schedule.toString();

function named(identity: string, at: (step: number) => number): Schedule {
  return Object.assign((step: number) => at(step), { identity });
}

/** @throws AppError `program-invalid` */
function requireWhole(what: string, value: number): void {
  if (Number.isInteger(value) && value >= 1) return;
  throw new AppError("program-invalid", `${what} is ${value}; it must be a whole number from 1 on`);
}

export function constant(rate: number): Schedule {
  return named(`constant(${rate})`, () => rate);
}

/** from * factor^floor(step / everySteps) */
export function stepDecay(settings: {
  readonly from: number;
  readonly everySteps: number;
  /** Default 0.1. */
  readonly factor?: number;
}): Schedule {
  const { from, everySteps, factor = 0.1 } = settings;
  requireWhole("everySteps", everySteps);
  return named(
    `stepDecay(${from},${everySteps},${factor})`,
    (step) => from * power(factor, Math.floor(step / everySteps)),
  );
}

/** from * factor^step */
export function exponentialDecay(settings: {
  readonly from: number;
  readonly factor: number;
}): Schedule {
  return stepDecay({ ...settings, everySteps: 1 });
}

interface Way {
  readonly from: number;
  /** Default 0. */
  readonly to?: number;
  /** After so many the rate is `to`. */
  readonly steps: number;
}

/** to + (from - to) * shape(step / steps), with shape(0) = 1 and shape(1) = 0 */
function along(name: string, way: Way, shape: (share: number) => number): Schedule {
  const { from, to = 0, steps } = way;
  requireWhole("steps", steps);
  return named(`${name}(${from},${to},${steps})`, (step) =>
    step >= steps ? to : to + (from - to) * shape(step / steps),
  );
}

/** to + (from - to) * (1 + cos(pi * step / steps)) / 2 (Loshchilov and Hutter, ICLR 2017) */
export function cosine(way: Way): Schedule {
  return along("cosine", way, (share) => (1 + cosineOfPi(share)) / 2);
}

export function linear(way: Way): Schedule {
  return along("linear", way, (share) => 1 - share);
}

/**
 * to + (from - to) * (1 - step / steps)^power
 *
 * `power` is a whole number: other powers have no fixed bits.
 */
export function polynomial(way: Way & { readonly power: number }): Schedule {
  requireWhole("power", way.power);
  return along(`polynomial${way.power}`, way, (share) => power(1 - share, way.power));
}

/** Rises evenly from `from` to the first rate of `after` in so many steps; the steps of `after` count from there. */
export function warmUp(settings: {
  readonly steps: number;
  /** Default 0. */
  readonly from?: number;
  readonly after: number | Schedule;
}): Schedule {
  const { steps, from = 0 } = settings;
  requireWhole("steps", steps);
  const after = typeof settings.after === "number" ? constant(settings.after) : settings.after;
  return named(`warmUp(${steps},${from},${identityOf(after)})`, (step) =>
    step < steps ? from + (after(0) - from) * (step / steps) : after(step - steps),
  );
}

/**
 * One cycle (Smith and Topin, 2018): by cosines up from peak / startDivisor to `peak`, then down to
 * peak / (startDivisor * endDivisor).
 */
export function oneCycle(settings: {
  readonly peak: number;
  /** Of the whole cycle. */
  readonly steps: number;
  /** Steps until the peak; default 0.3 of all. */
  readonly peakAt?: number;
  readonly startDivisor?: number;
  readonly endDivisor?: number;
}): Schedule {
  const { peak, steps, startDivisor = 25, endDivisor = 1e4 } = settings;
  const { peakAt = Math.max(1, Math.round(0.3 * steps)) } = settings;
  const start = peak / startDivisor;
  const up = cosine({ from: start, to: peak, steps: peakAt });
  const down = cosine({ from: peak, to: start / endDivisor, steps: steps - peakAt });
  return named(`oneCycle(${[peak, steps, peakAt, startDivisor, endDivisor].join()})`, (step) =>
    step < peakAt ? up(step) : down(step - peakAt),
  );
}
