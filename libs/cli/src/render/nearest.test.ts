import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { editsBetween, nearest } from "./nearest.ts";

const jobs = ["mnist-mlp-1a2b3c", "mnist-mlp", "mnist-cnn", "digits"];
const cases: Record<string, { given: string; want: string[] }> = {
  "a typing mistake": { given: "digist", want: ["digits"] },
  "a beginning": { given: "mnist-m", want: ["mnist-mlp", "mnist-mlp-1a2b3c", "mnist-cnn"] },
  "two that are as near": { given: "mnist-nlp", want: ["mnist-mlp", "mnist-cnn"] },
  "nothing near": { given: "translation", want: [] },
  "too short to guess": { given: "x", want: [] },
};

for (const [name, { given, want }] of Object.entries(cases)) {
  test(`near names: ${name}`, () => assert.deepEqual(nearest(given, jobs), want));
}

test("edits count the same both ways, and none means equal", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }), (a, b) => {
      assert.equal(editsBetween(a, b), editsBetween(b, a));
      assert.equal(editsBetween(a, b) === 0, a === b);
      assert.ok(editsBetween(a, b) <= Math.max(a.length, b.length));
    }),
  );
});
