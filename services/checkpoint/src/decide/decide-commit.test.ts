import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { decideCommit } from "./decide-commit.ts";
import type { Written } from "./told-parts.ts";

const facts = {
  step: 20,
  steps: 40,
  generation: 2,
  seed: 1,
  engine: "wasm",
  programHash: "p",
  shards: 8,
  batchSize: 64,
  parameterFloats: 32,
  slotCount: 1,
  segments: [
    { name: "w", shape: [2, 3], offset: 0, size: 6 },
    { name: "b", shape: [], offset: 16, size: 1 },
  ],
  weightsSha256: "a".repeat(64),
  final: false,
};

const pathOf = ({ part, parts }: Written) => `p${part}-${parts}`;
const isInPlace = (part: Written) => part.path === pathOf(part);

/** "0/2": part 0 of 2. */
function part(text: string, changes: Partial<Written> = {}, fact: object = {}): Written {
  const [index, parts] = text.split("/").map(Number);
  return {
    step: 20,
    generation: 2,
    part: index!,
    parts: parts!,
    path: `p${index}-${parts}`,
    bytes: 4,
    sha256: "b".repeat(64),
    workerId: `w${index}`,
    manifest: { ...facts, ...fact },
    ...changes,
  };
}

interface Case {
  readonly written: readonly Written[];
  readonly committed?: readonly { readonly step: number; readonly generation: number }[];
  /** Kind, and what is missing, the reason, or the parts. */
  readonly want: readonly [string, unknown];
}

const both = (fact: object) => [part("0/2", {}, fact), part("1/2", {}, fact)];
const cases: Record<string, Case> = {
  "nothing told": { written: [], want: ["wait", 1] },
  "a part is missing": { written: [part("2/3"), part("0/3")], want: ["wait", 1] },
  "a part told twice counts once": { written: [part("0/2"), part("0/2")], want: ["wait", 1] },
  "all parts, in the vector's order": {
    written: [part("1/2"), part("0/2")],
    want: ["verify", ["w0", "w1"]],
  },
  "of a part told twice the later one counts": {
    written: [part("0/2", { workerId: "old" }), part("1/2"), part("0/2")],
    want: ["verify", ["w0", "w1"]],
  },
  "a newer checkpoint is committed": {
    written: both({}),
    committed: [{ step: 30, generation: 2 }],
    want: ["ignore", "the checkpoint of step 30 is newer"],
  },
  "the same checkpoint is committed": {
    written: both({}),
    committed: [{ step: 20, generation: 2 }],
    want: ["ignore", "the checkpoint of step 20 is newer"],
  },
  "a later step of an older generation may be damaged: this one counts": {
    written: both({}),
    committed: [{ step: 30, generation: 1 }],
    want: ["verify", ["w0", "w1"]],
  },
  "workers do not agree on the number of parts": {
    written: [part("0/2"), part("1/3")],
    want: ["reject", "part 1 is one of 3, not of 2"],
  },
  "a part beyond the last": {
    written: [part("0/1"), part("1/1")],
    want: ["reject", "part 1 is one of 1, not of 1"],
  },
  "a worker has other weights": {
    written: [part("0/2"), part("1/2", {}, { weightsSha256: "c".repeat(64) })],
    want: ["reject", "part 1 of w1 has another weightsSha256"],
  },
  "a worker runs another engine": {
    written: [part("0/2"), part("1/2", {}, { engine: "native" })],
    want: ["reject", "part 1 of w1 has another engine"],
  },
  "facts of another step": {
    written: both({ step: 19 }),
    want: ["reject", "the facts are of step 19, generation 2"],
  },
  "a part in somebody else's folder": {
    written: [part("0/2", { path: "jobs/other" }), part("1/2")],
    want: ["reject", "part 0 of w0 lies in the wrong place"],
  },
  "a parameter beyond the vector": {
    written: both({ segments: [{ name: "w", shape: [33], offset: 0, size: 33 }] }),
    want: ["reject", "w of shape [33] does not lie within the parameters"],
  },
  "a parameter whose size is not its shape's": {
    written: both({ segments: [{ name: "w", shape: [3], offset: 0, size: 4 }] }),
    want: ["reject", "w of shape [3] does not lie within the parameters"],
  },
  "parameters that overlap": {
    written: both({
      segments: [
        { name: "w", shape: [4], offset: 0, size: 4 },
        { name: "b", shape: [4], offset: 3, size: 4 },
      ],
    }),
    want: ["reject", "b overlaps another parameter"],
  },
};

for (const [name, { written, committed = [], want }] of Object.entries(cases)) {
  test(name, () => {
    const decision = decideCommit({ isInPlace, written, committed });
    const brief =
      decision.kind === "wait"
        ? decision.missing
        : decision.kind === "verify"
          ? decision.parts.map(({ workerId }) => workerId)
          : decision.reason;
    deepEqual([decision.kind, brief], want);
  });
}

test("facts that are no facts are refused with the field, whatever they are", () => {
  for (const fact of [
    { parameterFloats: "many" },
    { parameterFloats: -1 },
    { slotCount: 1e9 },
    { weightsSha256: "x" },
    { segments: null },
    { step: Number.NaN },
  ])
    equal(decideCommit({ isInPlace, written: both(fact), committed: [] }).kind, "reject");
});
