/** What XLA says when it cannot compile a function, as an error that names operator and place. */
import { AppError } from "@coxswain/domain";
import type { RecordedOp } from "./record.ts";

/** A node of ours, as `{{node op12}}` or `{{function_node …}}{{node call/op12}}`. */
const ours = /\bop(\d+)\b/g;
const wordsMax = 300;

/** @param ops those of the function: node `opN` is the Nth */
export function xlaRefusal(error: unknown, ops: readonly RecordedOp[]): AppError {
  const message = error instanceof Error ? error.message : String(error);
  const named = [...message.matchAll(ours)].flatMap(([, index]) => ops[Number(index)] ?? []);
  const operators = [...new Set(named.map(({ op, where }) => `${op}${where()}`))];
  const what = operators.length === 0 ? "the program" : `operator ${operators.join(", ")}`;
  const words = message.split("\n", 1)[0]!.slice(0, wordsMax);
  const sentence = `XLA cannot compile ${what}; engine: native can run it. XLA says: ${words}`;
  return new AppError("program-invalid", sentence, { cause: error });
}
