import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  AppError,
  errorCodes,
  isEnded,
  type Job,
  type JobFact,
  type JobStateKind,
  next,
  whyIllegal,
} from "./index.ts";

const hash = "a".repeat(64);
const payloads: Record<string, object> = {
  "job.submitted": {
    job: { metadata: { name: "j" }, spec: { workers: { min: 1, max: 4 }, steps: 10 } },
  },
  "job.cancel-requested": {},
  "job.suspend-requested": {},
  "job.resume-requested": {},
  "job.resize-requested": { workersMax: 2 },
  "job.workers-wanted": { workersWanted: 2 },
  "job.queued": { reason: "WaitingForNodes", message: "no room" },
  "job.placed": {
    workers: [{ workerId: "w1", nodeId: "n1" }],
    engine: { name: "e", identity: "i" },
  },
  "job.preempted": { reason: "another" },
  "job.suspended": {},
  "job.succeeded": { weightsSha256: hash, metrics: {} },
  "job.failed": { error: { code: "worker-failed", message: "x" } },
  "job.cancelled": {},
  "worker.joined": {},
  "worker.standing-by": { workerId: "w9" },
  "worker.compiled": { programHash: "a", mode: "eager", reason: "it counts" },
  "worker.left": { workerId: "w1" },
  "worker.lost": { workerId: "w1", error: { code: "worker-failed", message: "x" } },
  "training.generation-formed": {
    generation: 1,
    members: [{ workerId: "w1", nodeId: "n1", shardFrom: 0, shardTo: 8 }],
  },
  "training.progressed": {
    stepTo: 5,
    steps: 10,
    epoch: 0.5,
    samplesPerSecond: 1,
    stepMs: 1,
    metrics: {},
  },
  "training.epoch-finished": { epoch: 1, step: 5, metrics: {} },
  "training.finished": { step: 10, weightsSha256: hash, metrics: {} },
  "training.failed": { error: { code: "program-threw", message: "y" } },
  "checkpoint.written": { step: 5, generation: 1, part: 0, parts: 1 },
  "checkpoint.committed": {
    generation: 1,
    step: 5,
    path: "p",
    bytes: 1,
    sha256: hash,
    weightsSha256: hash,
    final: false,
  },
  "checkpoint.rejected": { step: 5, generation: 1 },
  "checkpoint.pruned": { steps: [5] },
  "model.exported": { step: 10, path: "m", format: "safetensors", files: [] },
  "model.export-failed": { reason: "full" },
};
const names = Object.keys(payloads);

const factOf = (name: string, sequence: number): JobFact =>
  ({
    name,
    jobId: "j-1",
    sequence,
    timeMs: sequence,
    payload: payloads[name],
  }) as unknown as JobFact;

function fold(story: string): Job {
  const facts = story.split(" ").map((name, index) => factOf(name, index + 1));
  return facts.reduce<Job | undefined>((job, fact) => next(job, fact), undefined) as Job;
}

const running = "job.submitted job.placed training.generation-formed";
const stories: Record<string, [string, JobStateKind]> = {
  "a submitted job waits": ["job.submitted", "queued"],
  "a placed job has no generation yet": ["job.submitted job.placed", "placed"],
  "a generation makes it run": [running, "running"],
  "preempted, it waits again": [`${running} job.preempted`, "queued"],
  "it stops before it is suspended": [`${running} job.suspend-requested`, "stopping"],
  "it is suspended": [`${running} job.suspend-requested job.suspended`, "suspended"],
  "resumed, it waits": [
    `${running} job.suspend-requested job.suspended job.resume-requested`,
    "queued",
  ],
  cancelled: [`${running} job.cancel-requested job.cancelled`, "cancelled"],
  "the end came before the cancel": [
    `${running} job.cancel-requested training.finished`,
    "finishing",
  ],
  succeeded: [`${running} training.finished model.exported job.succeeded`, "succeeded"],
  failed: [`${running} training.failed job.failed`, "failed"],
  "a late generation revives nothing": [
    `${running} job.cancel-requested job.cancelled training.generation-formed`,
    "cancelled",
  ],
};
for (const [name, [story, want]] of Object.entries(stories))
  test(`${name}: ${want}`, () => equal(fold(story).state.kind, want));

test("a job is submitted first, and once", () => {
  throws(() => next(undefined, factOf("job.placed", 1)), { code: "illegal-move" });
  throws(() => next(fold("job.submitted"), factOf("job.submitted", 2)), { code: "illegal-move" });
});

test("the first error stays, and a committed step forgets it", () => {
  const lost = fold(`${running} worker.lost training.failed`);
  equal(lost.lossesInARow, 1);
  const recovered = fold(`${running} worker.lost training.progressed`);
  deepEqual([recovered.lossesInARow, recovered.firstError], [0, undefined]);
});

test("the first compiled program counts for the whole job", () => {
  const compiled = (programHash: string) => ({
    ...factOf("worker.compiled", 3),
    payload: { programHash, mode: "eager" },
  });
  const facts = [compiled("one"), compiled("two")] as JobFact[];
  const job = facts.reduce((before, fact) => next(before, fact), fold(running));
  equal(job.compiled?.programHash, "one");
});

test("who is placed together and dies together counts once, who is shut out not at all", () => {
  const place = (...ids: string[]) => ({
    ...factOf("job.placed", 2),
    payload: {
      ...payloads["job.placed"],
      workers: ids.map((workerId) => ({ workerId, nodeId: "n1" })),
    },
  });
  const lose = (workerId: string, code = "worker-failed") => ({
    ...factOf("worker.lost", 3),
    payload: { workerId, error: { code, message: "x" } },
  });
  const losses = (...facts: object[]) =>
    (facts as JobFact[]).reduce((job, fact) => next(job, fact), fold("job.submitted")).lossesInARow;
  equal(losses(place("a", "b", "c"), lose("a"), lose("b"), lose("c")), 1);
  equal(losses(place("a"), lose("a"), place("b"), lose("b"), place("c"), lose("c")), 3);
  equal(losses(place("a", "b"), lose("a"), place("b", "c"), lose("b"), lose("c")), 2);
  equal(losses(place("a", "b"), lose("a", "stale-generation")), 0);
});

test("a placement that names a worker whose end was told meanwhile is without it", () => {
  const job = fold(`${running} worker.lost job.placed`);
  deepEqual(job.placement, []);
});

test("a checkpoint that workers have told is unjudged until it is committed or rejected", () => {
  const say = (name: string, step: number, part = 0, generation = 1) => ({
    ...factOf(`checkpoint.${name}`, 4),
    payload: { ...payloads["checkpoint.committed"], step, generation, part, parts: 2 },
  });
  const unjudged = (...facts: object[]) =>
    (facts as JobFact[])
      .reduce((job, fact) => next(job, fact), fold(running))
      .unjudged.map(({ step, generation, told }) => `${step} g${generation}: ${told}`);
  const both = [
    say("written", 5),
    say("written", 5, 1),
    say("written", 9, 1),
    say("written", 5, 1),
  ];
  deepEqual(unjudged(...both), ["9 g1: 1", "5 g1: 0,1"]);
  deepEqual(unjudged(...both, say("committed", 5)), ["9 g1: 1"]);
  deepEqual(unjudged(...both, say("committed", 9), say("written", 7)), []);
  deepEqual(unjudged(...both, say("rejected", 9)), ["5 g1: 0,1"]);
  deepEqual(unjudged(...both, say("rejected", 9, 0, 2)), ["9 g1: 1", "5 g1: 0,1"]);
  const many = Array.from({ length: 20 }, (_, step) => say("written", step));
  deepEqual(unjudged(...many).length, 8);
});

/** Folds one fact and checks what must hold; a refused one leaves the job as it was. */
function checkedNext(job: Job, name: string, sequence: number): Job {
  const before = structuredClone(job);
  const fact = factOf(name, sequence);
  if (whyIllegal(job, name) !== undefined) {
    throws(() => next(job, fact), AppError);
    return job;
  }
  const after = next(job, fact);
  if (isEnded(before)) equal(after.state.kind, before.state.kind);
  equal(after.sequence, sequence);
  equal(after.lastJobSequence, name.startsWith("job.") ? sequence : before.lastJobSequence);
  deepEqual(job, before, "the fold changes nothing in place");
  return after;
}

test("no sequence of facts corrupts a job, and an end is final", () => {
  const tails = fc.array(fc.constantFrom(...names), { maxLength: 40 });
  fc.assert(
    fc.property(tails, (tail) => {
      tail.reduce((job, name, index) => checkedNext(job, name, index + 2), fold("job.submitted"));
    }),
  );
});

test("every error has a status of HTTP and a sentence that says what to do", () => {
  for (const [code, { status, fix }] of Object.entries(errorCodes)) {
    ok(status >= 400 && status < 600, code);
    ok(/^[A-Z].*\.$/.test(fix), `${code}: ${fix}`);
  }
});
