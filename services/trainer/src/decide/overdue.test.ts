import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { hearMs, type Missing, type OverdueInput, whyOverdue } from "./overdue.ts";

const pieces = (workerId: string, bytes: number): Missing => ({
  ...{ workerId, kind: "pieces", bytes, ofBytes: 100 },
});
const slice = (workerId: string, bytes: number): Missing => ({
  ...{ workerId, kind: "slice", bytes, ofBytes: 40 },
});
const late = "step 7 takes longer than 5 s";
const gradients = (workerId: string, bytes: number) =>
  `worker "${workerId}" keeps its connection, and has sent ${bytes} of 100 bytes of the gradients of its shards`;
const sum = (workerId: string, bytes: number) =>
  `worker "${workerId}" keeps its connection, and has sent ${bytes} of 40 bytes of what it adds up for all`;

interface Case {
  readonly overMs: number;
  readonly missing?: readonly Missing[];
  /** Code, whose fault, sentence; undefined: nothing is said yet. */
  readonly want: readonly [string, string | undefined, string] | undefined;
}

const cases: Record<string, Case> = {
  "in time": { overMs: 0, missing: [pieces("w2", 0)], want: undefined },
  "nothing is known of what is missing": {
    overMs: 1,
    want: ["program-stuck", undefined, late],
  },
  "the own shards are not computed": {
    overMs: 1,
    missing: [pieces("w1", 0), pieces("w2", 0), slice("w2", 0)],
    want: ["program-stuck", undefined, late],
  },
  "a peer's gradients: first it may say itself that it is stuck": {
    overMs: hearMs,
    missing: [pieces("w2", 3), slice("w2", 0)],
    want: undefined,
  },
  "a peer's gradients: it is named": {
    overMs: hearMs + 1,
    missing: [pieces("w2", 3), slice("w2", 0), slice("w3", 0)],
    want: ["peer-slow", "w2", `${late}: ${gradients("w2", 3)}`],
  },
  "only sums: who waits for gradients knows more": {
    overMs: 2 * hearMs,
    missing: [slice("w2", 0)],
    want: undefined,
  },
  "only sums, and nobody has said anything": {
    overMs: 2 * hearMs + 1,
    missing: [slice("w2", 39), slice("w3", 0)],
    want: ["peer-slow", "w3", `${late}: ${sum("w3", 0)}; ${sum("w2", 39)}`],
  },
  "many: the slowest are named": {
    overMs: hearMs + 1,
    missing: ["a", "b", "c", "d", "e"].map((id, at) => pieces(id, 50 - at)),
    want: [
      "peer-slow",
      "e",
      `${late}: ${gradients("e", 46)}; ${gradients("d", 47)}; ${gradients("c", 48)}; and 2 more`,
    ],
  },
};

for (const [name, { overMs, missing, want }] of Object.entries(cases))
  test(name, () => {
    const input: OverdueInput = {
      ...{ workerId: "w1", step: 7, stepTimeout: 5, ageMs: 5000 + overMs, missing },
    };
    const error = whyOverdue(input);
    deepEqual(error && [error.code, error.details["workerId"], error.sentence], want);
  });
