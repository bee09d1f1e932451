import { AssertionError } from "node:assert";

/** States what only a bug can break; the sentence says what holds, not what went wrong. */
export function assert(condition: unknown, sentence: string): asserts condition {
  if (!condition) throw new AssertionError({ message: sentence, stackStartFn: assert });
}

/** Ends a `switch` over a union: the compiler proves that every kind has been handled. */
export function assertNever(value: never): never {
  throw new AssertionError({
    message: `unhandled kind: ${JSON.stringify(value)}`,
    stackStartFn: assertNever,
  });
}
