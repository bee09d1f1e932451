import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import type { Job, JobState } from "@coxswain/domain";
import { decideTrainingJob, type JobObject } from "./decide-training-job.ts";
import { durationOf, keepTransitions } from "./training-job-status.ts";

const object = (more: Partial<JobObject> = {}): JobObject => ({
  ...{ name: "mnist", uid: "u", generation: 2, observedGeneration: 1, jobId: "mnist-1" },
  ...{ isRefused: false, isDeleted: false, hasFinalizer: true, isSuspended: false },
  ...{ replicas: undefined, ...more },
});
const heard = { observedGeneration: 2 };
const job = (kind: JobState["kind"], more: object = {}): Job =>
  ({ id: "mnist-1", state: { kind, ...more }, workersWanted: 2 }) as unknown as Job;
const cancelled = { to: "cancelled" };

const cases: Record<string, readonly [JobObject, Job | undefined, readonly string[]]> = {
  "a new object is held first": [object({ hasFinalizer: false }), undefined, ["hold"]],
  "then submitted": [object({ jobId: undefined }), undefined, ["submit"]],
  "a suspended one waits for whoever admits jobs": [
    object({ jobId: undefined, isSuspended: true }),
    undefined,
    [],
  ],
  "a refused one is not tried again": [
    object({ jobId: undefined, isRefused: true, ...heard }),
    undefined,
    [],
  ],
  "unless its spec is new": [object({ jobId: undefined, isRefused: true }), undefined, ["submit"]],
  "a new spec suspends": [object({ isSuspended: true }), job("running"), ["suspend"]],
  "and resumes": [object(), job("suspended"), ["resume"]],
  "and scales": [object({ replicas: 3 }), job("running"), ["resize"]],
  "what is so already is not asked for": [object({ replicas: 2 }), job("running"), []],
  "a spec is heard once: then the log leads and the object follows": [
    object(heard),
    job("suspended"),
    ["mirror"],
  ],
  "it follows in its number of workers, if it names one": [
    object({ replicas: 5, ...heard }),
    job("running"),
    ["mirror"],
  ],
  "and stays as it is if it names none": [object(heard), job("running"), []],
  "an ended job is left alone": [object({ isSuspended: true }), job("succeeded"), []],
  "a deleted object cancels its job": [object({ isDeleted: true }), job("running"), ["cancel"]],
  once: [object({ isDeleted: true }), job("stopping", cancelled), []],
  "and goes when the job has ended": [object({ isDeleted: true }), job("cancelled"), ["let-go"]],
  "or when there never was one": [
    object({ isDeleted: true, jobId: undefined }),
    undefined,
    ["let-go"],
  ],
  "nobody holds it: nothing to do": [
    object({ isDeleted: true, hasFinalizer: false }),
    job("running"),
    [],
  ],
};

for (const [name, [given, present, want]] of Object.entries(cases))
  test(name, () =>
    deepEqual(
      decideTrainingJob(given, present).map(({ kind }) => kind),
      want,
    ),
  );

test("durations are for people", () =>
  deepEqual([0, 59, 200, 7500].map(durationOf), ["0s", "59s", "3m20s", "2h5m"]));

test("a condition keeps the time of its last change of status", () => {
  const of = (status: "True" | "False", lastTransitionTime: string) => ({
    ...{ type: "Running", status, reason: "R", message: "", lastTransitionTime },
  });
  deepEqual(keepTransitions([of("True", "2")], [of("True", "1")]), [of("True", "1")]);
  deepEqual(keepTransitions([of("False", "2")], [of("True", "1")]), [of("False", "2")]);
});
