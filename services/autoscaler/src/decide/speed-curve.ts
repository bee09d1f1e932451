/**
 * Speed as a function of the number of workers, fitted to what was measured.
 *
 *   secondsPerSample(n) = a / n + b + c * (n - 1)      a, b, c >= 0
 *
 * a is the work that is divided, b what every step costs whoever takes part (Amdahl, 1967), c what
 * each further member adds (Gunther's Universal Scalability Law, 1993, in its linear term). With one
 * count measured only a is known; two give a and b; three or more all of them, by least squares.
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
  if (points.length === 1) return { a: points[0]!.t * points[0]!.n, b: 0, c: 0 };
  const full = points.length >= 3 ? solve(points, [1, 1, 1]) : undefined;
  if (full?.every((value) => value >= 0)) return { a: full[0]!, b: full[1]!, c: full[2]! };
  // A term that came out negative is left out: first the last one, then the one before.
  const withoutC = solve(points, [1, 1, 0]);
  if (withoutC !== undefined && withoutC[0]! >= 0 && withoutC[1]! >= 0)
    return { a: withoutC[0]!, b: withoutC[1]!, c: 0 };
  const withoutB = solve(points, [1, 0, 1]);
  if (withoutB !== undefined && withoutB[0]! >= 0 && withoutB[1]! >= 0)
    return { a: withoutB[0]!, b: 0, c: withoutB[1]! };
  const mean = points.reduce((sum, { n, t }) => sum + t * n, 0) / points.length;
  return { a: mean, b: 0, c: 0 };
}

export function speedAt({ a, b, c }: SpeedCurve, workers: number): number {
  return 1 / (a / workers + b + c * (workers - 1));
}

/** Least squares over the chosen terms by the normal equations; undefined when they are singular. */
function solve(
  points: readonly { readonly n: number; readonly t: number }[],
  use: readonly number[],
): number[] | undefined {
  const terms = [(n: number) => 1 / n, () => 1, (n: number) => n - 1].filter(
    (_, index) => use[index] === 1,
  );
  const matrix = terms.map((row) => [
    ...terms.map((column) => points.reduce((sum, { n }) => sum + row(n) * column(n), 0)),
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
