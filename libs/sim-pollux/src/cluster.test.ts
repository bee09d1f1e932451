import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { type Policy, simulate } from "./cluster.ts";
import type { Submission } from "./load-traces.ts";
import { Goodput } from "./policies/goodput.ts";
import { Optimus } from "./policies/optimus.ts";
import { Tiresias } from "./policies/tiresias.ts";
import { syntheticApplications, syntheticWorkload } from "./testing.ts";

const submission = (name: string, more: Partial<Submission> = {}): Submission => ({
  name,
  application: "short",
  submitSeconds: 0,
  workers: 1,
  batch: 64,
  ...more,
});
const options = { moveSeconds: 30 };

/** Everybody on node 0, for ever; then what `later` says. */
const fixed = (later?: (seconds: number) => readonly number[] | undefined): Policy => ({
  fixedBatch: ({ batch }) => batch,
  decide: (jobs, seconds) => new Map(jobs.map((job) => [job, later?.(seconds) ?? [0]])),
});

test("a job waits for the minute, pauses for its start, and ends in a whole second", () => {
  const { jobs } = simulate(syntheticApplications, [submission("a")], fixed(), options);
  equal(jobs[0]!.completionSeconds, 60 + 30 + 350); // 1000 steps of 0.35 s
  equal(jobs[0]!.moves, 1);
});

test("a move pauses it, and the pause takes GPU time", () => {
  const moving = fixed((seconds) => (seconds >= 120 ? [1] : undefined));
  const { jobs } = simulate(syntheticApplications, [submission("a")], moving, options);
  equal(jobs[0]!.completionSeconds, 60 + 2 * 30 + 350);
  equal(jobs[0]!.gpuSeconds, 2 * 30 + 350);
});

test("a node that is given more workers than it holds is a bug", () => {
  throws(() =>
    simulate(
      syntheticApplications,
      [submission("a")],
      fixed(() => [0, 0, 0, 0, 0]),
      options,
    ),
  );
});

test("Tiresias: who has had 16 GPU-hours makes room for newcomers", () => {
  const wide = { application: "huge", workers: 32, batch: 1024 };
  const newcomer = submission("new", { submitSeconds: 3600, workers: 4, batch: 256 });
  const workload = [submission("old", wide), submission("older", wide), newcomer];
  const { jobs } = simulate(syntheticApplications, workload, new Tiresias(workload), options);
  const [first, second, last] = jobs;
  ok(last!.completionSeconds < 600, `${last!.completionSeconds}`);
  deepEqual([first!.moves, second!.moves], [1, 2]);
});

test("Optimus: the GPUs go where they shorten the remaining time most", () => {
  const workload = [
    submission("short", { batch: 256 }),
    submission("long", { application: "long", batch: 256 }),
  ];
  const { jobs } = simulate(syntheticApplications, workload, new Optimus(), options);
  ok(jobs[1]!.gpuSeconds > jobs[0]!.gpuSeconds);
  ok(jobs.every(({ moves }) => moves >= 1));
});

test("the same workload gives the same result, whatever the policy", () => {
  const policies = [
    () => new Tiresias(syntheticWorkload),
    () => new Optimus(),
    () => new Goodput(options.moveSeconds),
  ];
  for (const build of policies) {
    const run = () => simulate(syntheticApplications, syntheticWorkload, build(), options).jobs;
    deepEqual(run(), run());
  }
});

test("goodput: jobs end sooner on average than with sizes that never change", () => {
  const meanOf = (policy: Policy) => {
    const { jobs } = simulate(syntheticApplications, syntheticWorkload, policy, options);
    return jobs.reduce((sum, { completionSeconds }) => sum + completionSeconds, 0) / jobs.length;
  };
  ok(meanOf(new Goodput(options.moveSeconds)) < meanOf(new Tiresias(syntheticWorkload)));
});
