/** When a checkpoint may be committed, judged from what its writers said. */
import type { PayloadOf } from "@coxswain/events";

export type Written = PayloadOf<"checkpoint.written">;

export type CommitDecision =
  | { readonly kind: "wait"; readonly missing: number }
  | { readonly kind: "verify"; readonly parts: readonly Written[] }
  | { readonly kind: "reject"; readonly reason: string };

/** Facts that all parts of one checkpoint must share, whoever wrote them. */
const shared = [
  "step",
  "generation",
  "engine",
  "programHash",
  "parameterFloats",
  "slotCount",
  "weightsSha256",
] as const;

/** @param written all parts told of one (step, generation), in any order, repeats allowed */
export function decideCommit(written: readonly Written[]): CommitDecision {
  const byPart = new Map(written.map((part) => [part.part, part]));
  const first = written[0];
  if (first === undefined) return { kind: "wait", missing: 1 };
  const missing = first.parts - byPart.size;
  if (missing > 0) return { kind: "wait", missing };
  const parts = [...byPart.values()].sort((a, b) => a.part - b.part);
  for (const part of parts) {
    const differs = shared.find((fact) => part.manifest[fact] !== first.manifest[fact]);
    if (differs !== undefined)
      return {
        kind: "reject",
        reason: `part ${part.part} of ${part.workerId} has another ${differs}`,
      };
    if (part.parts !== first.parts)
      return {
        kind: "reject",
        reason: `part ${part.part} is one of ${part.parts}, not of ${first.parts}`,
      };
  }
  return { kind: "verify", parts };
}
