/** A job gives way to one of higher priority, and goes on where it stood. */
import { deepEqual, equal } from "node:assert/strict";
import { availableParallelism } from "node:os";
import { test } from "node:test";
import { auditThroughApi, type FollowedEvent } from "@coxswain/cli";
import { fixture, startTestPlatform } from "./start-platform.ts";

const steps = 300;
/** The only checkpoint before the end is the one that preemption brings about. */
const common = [`spec.steps=${steps}`, `spec.checkpoint.everySteps=${steps}`, "spec.shards=8"];
/** Two workers have the whole machine. */
const wholeMachine = [`spec.resources.cpu=${availableParallelism() / 2}`, "spec.shards=8"];

const all = (events: readonly FollowedEvent[], name: string) =>
  events.filter((event) => event.name === name);

test("a preempted job writes a checkpoint at its last step, and goes on from there: the same bits", async (t) => {
  const { api, run, isUnhurried, release } = await startTestPlatform(t, {
    LEAVE_TIMEOUT_MS: "60000",
  });
  const one = ["spec.workers.min=1", "spec.workers.max=1"];
  const undisturbed = await run(fixture, [...common, ...one]);
  equal(undisturbed.last.name, "job.succeeded");

  let urgent: ReturnType<typeof run> | undefined;
  const { id, events, last } = await run(
    fixture,
    [...common, ...wholeMachine, isUnhurried],
    async ({ name, payload }) => {
      if (name === "training.progressed" && payload.workers === 2)
        urgent ??= run(fixture, ["spec.steps=20", "spec.priority=5", ...wholeMachine]);
      if (name === "job.preempted") await release();
      return false;
    },
  );
  equal((await urgent)?.last.name, "job.succeeded");
  equal(last.name, "job.succeeded", JSON.stringify(last));
  equal(last.payload.weightsSha256, undisturbed.last.payload.weightsSha256);

  const [preempted, ...more] = all(events, "job.preempted");
  deepEqual(more, []);
  const restored = all(events, "training.generation-formed").findIndex(
    ({ payload }) => payload.cause === "restore",
  );
  const restore = all(events, "training.generation-formed")[restored]!;
  const before = events.slice(0, events.indexOf(restore));
  const lastStep = all(before, "training.progressed").at(-1)!.payload.stepTo;
  const checkpoints = all(before, "checkpoint.committed");
  deepEqual(
    checkpoints.map(({ payload }) => [payload.step, payload.final]),
    [[lastStep, false]],
  );
  equal(events.indexOf(checkpoints[0]!) > events.indexOf(preempted!), true);
  deepEqual([restore.payload.fromStep, restore.payload.checkpointStep], [lastStep, lastStep]);
  deepEqual(all(events, "worker.lost"), []);
  const report = await auditThroughApi(api, id);
  deepEqual(
    [report.ok, report.stepsCommitted, report.stepsRedone, report.stepsTwice, report.stepsSkipped],
    [true, steps, 0, 0, 0],
  );
});
