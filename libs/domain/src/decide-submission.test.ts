import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { decideSubmission } from "./decide-submission.ts";

test("a misspelt field is told once, beside every other violation", () => {
  const judged = decideSubmission({
    apiVersion: "coxswain.dev/v1",
    kind: "TrainingJob",
    metadata: { name: "circle" },
    spec: { program: `sha256:${"0".repeat(64)}`, epoch: 20, workers: { min: 3, max: 2 } },
  });
  deepEqual(judged, {
    kind: "invalid",
    violations: [
      { pointer: "/spec", detail: 'Remove the unknown "epoch".' },
      { pointer: "/spec", detail: 'Give exactly one of "epochs" and "steps".' },
      { pointer: "/spec/workers/min", detail: "At least 3 workers are more than at most 2." },
    ],
  });
});
