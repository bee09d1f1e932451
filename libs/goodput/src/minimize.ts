/**
 * Minimises a smooth function of few variables within a box, by a projected quasi-Newton method.
 *
 * Each round fixes the variables that stand at a bound and are pushed against it, steps along
 * -H g in the others (H: BFGS's estimate of the inverse Hessian), projects onto the box, and halves
 * the step until the function falls enough (Armijo). H starts anew when the fixed set changes, or
 * when its direction leads nowhere within the box.
 * After Bertsekas, "Projected Newton methods for optimization problems with simple constraints",
 * SIAM J. Control and Optimization 20 (1982). H is dense, so this is for some ten variables.
 */

export interface Box {
  readonly lower: readonly number[];
  readonly upper: readonly number[];
}

/** Returns the function's value at `x` and writes its gradient. */
export type Objective = (x: readonly number[], gradient: number[]) => number;

export interface Minimum {
  readonly x: readonly number[];
  readonly value: number;
  readonly rounds: number;
}

const roundsMax = 200;
const halvingsMax = 30;
const armijo = 1e-4;
/** Relative fall of the value, or length of the projected gradient, at which it is good enough. */
const tolerance = 1e-9;

export function minimize(objective: Objective, start: readonly number[], box: Box): Minimum {
  const size = start.length;
  let x = project(start, box);
  let gradient = new Array<number>(size).fill(0);
  let value = objective(x, gradient);
  let free = freeOf(x, gradient, box);
  let inverse = identity(size);
  let isSteepest = true;
  let rounds = 0;
  while (rounds < roundsMax) {
    rounds += 1;
    const direction = directionOf(inverse, gradient, free);
    const next = search(objective, { x, value, gradient, direction, box });
    if (next === undefined && isSteepest) break;
    if (next === undefined) {
      inverse = identity(size);
      isSteepest = true;
      continue;
    }
    const fall = value - next.value;
    const freeNext = freeOf(next.x, next.gradient, box);
    isSteepest = freeNext.some((isFree, index) => isFree !== free[index]);
    if (isSteepest) inverse = identity(size);
    else update(inverse, subtract(next.x, x), subtract(next.gradient, gradient), free);
    ({ x, value, gradient } = next);
    free = freeNext;
    if (!isSteepest && fall <= tolerance * Math.max(1, Math.abs(value))) break;
  }
  return { x, value, rounds };
}

function project(x: readonly number[], { lower, upper }: Box): number[] {
  return x.map((value, index) => Math.min(upper[index]!, Math.max(lower[index]!, value)));
}

function freeOf(x: readonly number[], gradient: readonly number[], { lower, upper }: Box) {
  return x.map(
    (value, index) =>
      !(value <= lower[index]! && gradient[index]! > 0) &&
      !(value >= upper[index]! && gradient[index]! < 0) &&
      lower[index]! < upper[index]!,
  );
}

function directionOf(
  inverse: readonly (readonly number[])[],
  gradient: readonly number[],
  free: readonly boolean[],
): number[] {
  return gradient.map((_, row) =>
    free[row]
      ? gradient.reduce((sum, g, k) => (free[k] ? sum - inverse[row]![k]! * g : sum), 0)
      : 0,
  );
}

interface Place {
  readonly x: readonly number[];
  readonly value: number;
  readonly gradient: readonly number[];
  readonly direction: readonly number[];
  readonly box: Box;
}

/** The first point along the projected direction at which the function has fallen enough. */
function search(objective: Objective, { x, value, gradient, direction, box }: Place) {
  let step = 1;
  for (let halving = 0; halving < halvingsMax; halving += 1) {
    const at = project(
      x.map((start, index) => start + step * direction[index]!),
      box,
    );
    const gradientAt = new Array<number>(x.length).fill(0);
    const valueAt = objective(at, gradientAt);
    const promised = dot(gradient, subtract(at, x));
    if (promised >= 0) return undefined;
    if (valueAt <= value + armijo * promised)
      return { x: at, value: valueAt, gradient: gradientAt };
    step /= 2;
  }
  return undefined;
}

/** BFGS: H' = (I - s y'/(s'y)) H (I - y s'/(s'y)) + s s'/(s'y), where the curvature is positive. */
function update(
  inverse: number[][],
  moved: readonly number[],
  turned: readonly number[],
  free: readonly boolean[],
): void {
  const y = turned.map((value, index) => (free[index] ? value : 0));
  const curvature = dot(moved, y);
  if (curvature <= 1e-14) return;
  const hy = inverse.map((row) => dot(row, y));
  const factor = (1 + dot(y, hy) / curvature) / curvature;
  for (let row = 0; row < moved.length; row += 1)
    for (let column = 0; column < moved.length; column += 1)
      inverse[row]![column]! +=
        factor * moved[row]! * moved[column]! -
        (hy[row]! * moved[column]! + moved[row]! * hy[column]!) / curvature;
}

const identity = (size: number) =>
  Array.from({ length: size }, (_, row) =>
    Array.from({ length: size }, (_, column) => (row === column ? 1 : 0)),
  );

const subtract = (a: readonly number[], b: readonly number[]) =>
  a.map((value, index) => value - b[index]!);

function dot(a: readonly number[], b: readonly number[]): number {
  let sum = 0;
  for (let index = 0; index < a.length; index += 1) sum += a[index]! * b[index]!;
  return sum;
}
