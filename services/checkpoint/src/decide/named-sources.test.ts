import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import type { StoredEvent } from "@coxswain/events";
import { NamedSources } from "./named-sources.ts";

const said = (name: string, jobId: string, from?: object) =>
  ({ name, jobId, payload: { job: { spec: { from } } } }) as unknown as StoredEvent;
const submitted = said("job.submitted", "b", { job: "a", step: 7 });

for (const [name, log, steps, released] of [
  ["a job that waits holds the checkpoint that it names", [submitted], [7], []],
  ["one that names none holds none", [said("job.submitted", "b")], [], []],
  [
    "others' checkpoints release nothing",
    [submitted, said("checkpoint.committed", "a"), said("job.succeeded", "a")],
    [7],
    [],
  ],
  ["its own first checkpoint", [submitted, said("checkpoint.committed", "b")], [], ["a"]],
  ["its end", [submitted, said("job.cancelled", "b")], [], ["a"]],
  [
    "two name the same one: the second holds it on",
    [submitted, said("job.submitted", "c", { job: "a", step: 7 }), said("job.failed", "b")],
    [7],
    ["a"],
  ],
] as [string, StoredEvent[], number[], string[]][])
  test(`named checkpoints: ${name}`, () => {
    const sources = new NamedSources();
    for (const event of log) sources.observe(event);
    deepEqual([[...sources.stepsOf("a")], sources.takeReleased()], [steps, released]);
    deepEqual(sources.takeReleased(), []);
  });
