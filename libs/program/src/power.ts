/**
 * Functions of `Math` that JavaScript leaves to the implementation, made of operations that it does
 * not: the same numbers on every processor.
 */

/** base^exponent by squaring; `exponent` is a whole number, 0 or more. */
export function power(base: number, exponent: number): number {
  let result = 1;
  let factor = base;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result *= factor;
    factor *= factor;
  }
  return result;
}

/** Terms of the series: their rest is below the last bit of a double for angles up to pi / 4. */
const seriesTerms = 10;

/** cos(pi * x) for 0 <= x <= 1. */
export function cosineOfPi(x: number): number {
  if (x > 0.5) return -cosineOfPi(1 - x);
  const isSine = x > 0.25;
  const angle = Math.PI * (isSine ? 0.5 - x : x);
  const square = angle * angle;
  const first = isSine ? 1 : 0;
  let sum = 1;
  for (let term = seriesTerms; term > 0; term -= 1) {
    const last = 2 * term + first;
    sum = 1 - (square / (last * (last - 1))) * sum;
  }
  return isSine ? angle * sum : sum;
}
