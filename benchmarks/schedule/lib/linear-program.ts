/** A linear program, written out for HiGHS: what is least, or most, under linear constraints. */
import { assert } from "@coxswain/domain";
import highsModule from "highs";

// Its types are those of a CommonJS module; what Node loads is an ES module.
const loadHighs = highsModule as unknown as typeof highsModule.default;

/** A factor for each variable. */
export type Terms = Readonly<Record<string, number>>;

export interface Constraint {
  readonly terms: Terms;
  readonly is: "<=" | ">=";
  readonly value: number;
}

export interface LinearProgram {
  readonly goal: "Minimize" | "Maximize";
  readonly objective: Terms;
  readonly constraints: readonly Constraint[];
  /** All variables are at least 0; absent: no more than that. */
  readonly most?: Terms;
  /** Whole numbers only. */
  readonly isWhole?: boolean;
}

export interface Solution {
  readonly value: number;
  readonly of: (variable: string) => number;
}

export type Solver = (program: LinearProgram) => Solution;

export async function loadSolver(): Promise<Solver> {
  const highs = await loadHighs();
  return (program) => {
    const found = highs.solve(textOf(program));
    assert(found.Status === "Optimal", `the program has a solution (it is ${found.Status})`);
    const columns: Readonly<Record<string, { readonly Primal?: number }>> = found.Columns;
    return { value: found.ObjectiveValue, of: (variable) => columns[variable]?.Primal ?? 0 };
  };
}

/** CPLEX' LP format. */
function textOf({ goal, objective, constraints, most = {}, isWhole = false }: LinearProgram) {
  const names = new Set([objective, ...constraints.map(({ terms }) => terms)].flatMap(Object.keys));
  return [
    `${goal}\n obj: ${sumOf(objective)}`,
    "Subject To",
    ...constraints.map(({ terms, is, value }, row) => ` c${row}: ${sumOf(terms)} ${is} ${value}`),
    "Bounds",
    ...Object.entries(most).map(([name, value]) => ` 0 <= ${name} <= ${value}`),
    ...(isWhole ? [`General\n ${[...names].join(" ")}`] : []),
    "End\n",
  ].join("\n");
}

const sumOf = (terms: Terms) =>
  Object.entries(terms)
    .map(([name, factor]) => `${factor < 0 ? "-" : "+"} ${Math.abs(factor)} ${name}`)
    .join(" ");
