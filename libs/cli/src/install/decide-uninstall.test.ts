import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import {
  decideKeeping,
  decideLosing,
  type JobSeen,
  type UninstallSeen,
} from "./decide-uninstall.ts";

const job = (more: Partial<JobSeen>): JobSeen => ({
  ...{ name: "a", phase: "Running", isSuspended: false, isDeleted: false, isHeld: true },
  ...more,
});
const seen = (jobs: readonly JobSeen[], more: Partial<UninstallSeen> = {}): UninstallSeen => ({
  ...{ jobs, workers: 0, controllers: 1 },
  ...more,
});
const brief = (step: ReturnType<typeof decideKeeping>) =>
  "names" in step ? `${step.kind} ${step.names.join()}` : step.kind;

const keeping: Record<string, readonly [UninstallSeen, string]> = {
  "no job": [seen([]), "go"],
  "a job that trains is suspended first": [
    seen([job({}), job({ name: "b", phase: "Succeeded" }), job({ name: "c", phase: undefined })]),
    "suspend a,c",
  ],
  "one that stops is waited for": [seen([job({ isSuspended: true })]), "wait"],
  "its last worker too": [
    seen([job({ isSuspended: true, phase: "Suspended" })], { workers: 1 }),
    "wait",
  ],
  "then nothing is lost": [seen([job({ isSuspended: true, phase: "Suspended" })]), "go"],
  "an ended job is left as it is": [seen([job({ phase: "Failed" })]), "go"],
  "with nobody to hear it nothing is done": [
    seen([job({ isSuspended: true })], { controllers: 0 }),
    "refuse",
  ],
};
for (const [name, [given, want]] of Object.entries(keeping))
  test(`to keep jobs: ${name}`, () => deepEqual(brief(decideKeeping(given)), want));

const deleted = job({ isDeleted: true });
const losing: Record<string, readonly [UninstallSeen, boolean, string]> = {
  "no job": [seen([]), false, "go"],
  "jobs are deleted, which cancels them": [seen([job({}), deleted]), false, "delete a"],
  "and waited for": [seen([deleted]), false, "wait"],
  "for so long": [seen([deleted]), true, "release a"],
  "with nobody to let them go they are let go": [
    seen([deleted], { controllers: 0 }),
    false,
    "release a",
  ],
  "another's finalizer is another's": [
    seen([{ ...deleted, isHeld: false }], { controllers: 0 }),
    true,
    "wait",
  ],
};
for (const [name, [given, isLate, want]] of Object.entries(losing))
  test(`to lose everything: ${name}`, () => deepEqual(brief(decideLosing(given, isLate)), want));
