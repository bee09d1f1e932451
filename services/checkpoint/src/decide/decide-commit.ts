/** When a checkpoint may be verified, judged from what its writers said. */
import type { CheckpointFacts } from "@coxswain/store";
import { parseFacts } from "./parse-facts.ts";
import type { Written } from "./told-parts.ts";

export type CommitDecision =
  | { readonly kind: "wait"; readonly missing: number }
  | { readonly kind: "ignore"; readonly reason: string }
  | { readonly kind: "reject"; readonly reason: string }
  | {
      readonly kind: "verify";
      readonly facts: CheckpointFacts;
      /** In the vector's order. */
      readonly parts: readonly Written[];
    };

export interface CommitInput {
  /** Whether it lies in its place, or in an older checkpoint's of the job, unchanged. */
  readonly isInPlace: (part: Written) => boolean;
  /** All parts told of one step and generation, in any order, repeats allowed. */
  readonly written: readonly Written[];
  readonly committed: readonly { readonly step: number; readonly generation: number }[];
}

/**
 * Decides whether the parts are all there and speak of one checkpoint. A newer one of the same or a
 * later generation makes this one useless: it is ignored.
 *
 * Of a part told twice the later one counts: somebody wrote it again.
 */
export function decideCommit({ isInPlace, written, committed }: CommitInput): CommitDecision {
  const first = written[0];
  if (first === undefined) return { kind: "wait", missing: 1 };
  const newer = committed.find(
    ({ step, generation }) => step >= first.step && generation >= first.generation,
  );
  if (newer !== undefined)
    return { kind: "ignore", reason: `the checkpoint of step ${newer.step} is newer` };
  const odd = written.find(({ part, parts }) => parts !== first.parts || part >= parts);
  if (odd !== undefined)
    return reject(`part ${odd.part} is one of ${odd.parts}, not of ${first.parts}`);
  const byPart = new Map(written.map((part) => [part.part, part]));
  if (byPart.size < first.parts) return { kind: "wait", missing: first.parts - byPart.size };
  return judgeParts(
    isInPlace,
    [...byPart.values()].sort((a, b) => a.part - b.part),
  );
}

function judgeParts(
  isInPlace: CommitInput["isInPlace"],
  parts: readonly Written[],
): CommitDecision {
  const first = parts[0]!;
  const verdict = parseFacts(first.manifest);
  if (verdict.kind === "wrong") return reject(verdict.reason);
  const { facts } = verdict;
  if (facts.step !== first.step || facts.generation !== first.generation)
    return reject(`the facts are of step ${facts.step}, generation ${facts.generation}`);
  const text = JSON.stringify(facts);
  for (const one of parts) {
    if (JSON.stringify(one.manifest) !== text)
      return reject(
        `part ${one.part} of ${one.workerId} has another ${differenceOf(facts, one.manifest)}`,
      );
    if (!isInPlace(one))
      return reject(`part ${one.part} of ${one.workerId} lies in the wrong place`);
  }
  return { kind: "verify", facts, parts };
}

/** The first fact on which they differ. */
function differenceOf(facts: CheckpointFacts, other: Readonly<Record<string, unknown>>): string {
  const own = facts as unknown as Readonly<Record<string, unknown>>;
  const names = new Set([...Object.keys(own), ...Object.keys(other)]);
  return (
    [...names].find((name) => JSON.stringify(own[name]) !== JSON.stringify(other[name])) ??
    "order of facts"
  );
}

function reject(reason: string): CommitDecision {
  return { kind: "reject", reason };
}
