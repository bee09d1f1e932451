/**
 * Speed as a function of the number of workers, fitted to what was measured.
 *
 *   secondsPerSample(n) = a / n + b + c * (n - 1)      a, b, c >= 0
 *
 * a is the work that is divided, b what every step costs whoever takes part (Amdahl, 1967), c what
 * each further member adds (Gunther's Universal Scalability Law, 1993, in its linear term). With one
 * count measured only a is known; with more, the terms are chosen that fit best, none negative.
 */

export interface Measured {
  readonly workers: number;
  readonly samplesPerSecond: number;
}

export interface SpeedCurve {
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

export function fitSpeed(measured: readonly Measured[]): SpeedCurve {
  const points = measured.map(({ workers, samplesPerSecond }) => ({
    n: workers,
    t: 1 / samplesPerSecond,
  }));
  const known = Math.min(points.length, terms.length);
  const fits = subsets
    .filter((subset) => subset.length <= known && (points.length > 1 || subset[0] === 0))
    .flatMap((subset) => fitTerms(points, subset));
  const best = fits.sort((a, b) => a.error - b.error)[0]!;
  return best.curve;
}

/** The terms of the formula, and every choice of them: least squares with no negative coefficient. */
const terms = [(n: number) => 1 / n, () => 1, (n: number) => n - 1] as const;
const subsets: readonly (readonly number[])[] = [[0], [1], [0, 1], [0, 2], [1, 2], [0, 1, 2]];
/** Of the speed; what is smaller is the arithmetic's own. */
const negligible = 1e-9;

interface Point {
  readonly n: number;
  readonly t: number;
}

function fitTerms(
  points: readonly Point[],
  subset: readonly number[],
): readonly { readonly curve: SpeedCurve; readonly error: number }[] {
  const solved = solve(points, subset);
  const scale = Math.max(...points.map(({ t }) => t));
  if (solved === undefined || solved.some((value) => value < -negligible * scale)) return [];
  const coefficients = [0, 0, 0];
  for (const [index, term] of subset.entries()) coefficients[term] = Math.max(0, solved[index]!);
  const [a, b, c] = coefficients as [number, number, number];
  const curve = { a, b, c };
  const error = points.reduce((sum, { n, t }) => sum + (1 / speedAt(curve, n) - t) ** 2, 0);
  return [{ curve, error }];
}

export function speedAt({ a, b, c }: SpeedCurve, workers: number): number {
  return 1 / (a / workers + b + c * (workers - 1));
}

/** Least squares over the chosen terms by the normal equations; undefined when they are singular. */
function solve(points: readonly Point[], subset: readonly number[]): number[] | undefined {
  const chosen = subset.map((term) => terms[term]!);
  const matrix = chosen.map((row) => [
    ...chosen.map((column) => points.reduce((sum, { n }) => sum + row(n) * column(n), 0)),
    points.reduce((sum, { n, t }) => sum + row(n) * t, 0),
  ]);
  return eliminate(matrix);
}

/** Gauss with partial pivoting on an augmented matrix. */
function eliminate(matrix: number[][]): number[] | undefined {
  const size = matrix.length;
  for (let column = 0; column < size; column += 1) {
    const pivot = matrix
      .slice(column)
      .reduce(
        (best, row, index) =>
          Math.abs(row[column]!) > Math.abs(matrix[best]![column]!) ? column + index : best,
        column,
      );
    [matrix[column], matrix[pivot]] = [matrix[pivot]!, matrix[column]!];
    const head = matrix[column]![column]!;
    if (Math.abs(head) < 1e-15) return undefined;
    for (let row = 0; row < size; row += 1) {
      if (row === column) continue;
      const factor = matrix[row]![column]! / head;
      for (let k = column; k <= size; k += 1) matrix[row]![k]! -= factor * matrix[column]![k]!;
    }
  }
  return matrix.map((row, index) => row[size]! / row[index]!);
}
