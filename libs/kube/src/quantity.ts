/** Quantities as Kubernetes writes them: `250m`, `2`, `1.5Gi`, `1e3`. */
import { AppError } from "@coxswain/domain";

const suffixes: Readonly<Record<string, number>> = {
  ...{ n: 1e-9, u: 1e-6, m: 1e-3, "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 },
};
const grammar = /^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([a-zA-Z]{0,2})$/;

/** Cores, bytes or pieces. @throws AppError `invalid-request` for a text that is no quantity */
export function parseQuantity(text: string): number {
  const [, number, suffix] = grammar.exec(text) ?? [];
  const factor = suffixes[suffix ?? "none"];
  if (number === undefined || factor === undefined)
    throw new AppError("invalid-request", `"${text.slice(0, 40)}" is no quantity`);
  return Number(number) * factor;
}
