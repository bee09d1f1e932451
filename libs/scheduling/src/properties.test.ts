/** What must hold for all clusters, queues and jobs, tried on random ones. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import type { Job } from "@coxswain/domain";
import fc from "fast-check";
import { coveredOf } from "./cover.ts";
import { decidePlacement } from "./decide-placement.ts";
import { anyJob, anyQueues } from "./property-testing.ts";
import { byImportance, type Decision, type QueueView } from "./snapshot.ts";
import { applyAll, type JobInput, jobOf, snapshotOf } from "./testing.ts";
import { quotaUnits } from "./vector.ts";

const anyCores = fc.array(fc.integer({ min: 0, max: 8 }), { minLength: 1, maxLength: 4 });

const cpuOf = (job: Job) => job.placement.length * job.spec.resources.cpu;

/** Nobody uses more than the rules for queues and cohorts allow. */
function checkQuotas(queues: readonly QueueView[], jobs: readonly Job[]): void {
  const usedBy = (name: string) =>
    jobs.filter(({ spec }) => spec.queue === name).reduce((total, job) => total + cpuOf(job), 0);
  for (const { name, spec } of queues) {
    const nominal = spec.nominalQuota?.cpu;
    if (nominal === undefined) continue;
    const limit =
      spec.cohort === undefined ? nominal : nominal + (spec.borrowingLimit?.cpu ?? Infinity);
    ok(usedBy(name) <= limit, `queue ${name} uses ${usedBy(name)} of ${limit}`);
  }
  for (const cohort of ["x", "y"]) {
    const members = queues.filter(
      ({ spec }) => spec.cohort === cohort && spec.nominalQuota?.cpu !== undefined,
    );
    const keptOf = ({ spec }: QueueView) =>
      spec.nominalQuota!.cpu! -
      Math.min(spec.nominalQuota!.cpu!, spec.lendingLimit?.cpu ?? Infinity);
    const shared = members.reduce(
      (total, view) => total + view.spec.nominalQuota!.cpu! - keptOf(view),
      0,
    );
    const used = members.reduce(
      (total, view) => total + Math.max(0, usedBy(view.name) - keptOf(view)),
      0,
    );
    ok(used <= shared, `cohort ${cohort} shares ${used} of ${shared}`);
  }
}

/**
 * A 1 for each job, in order of importance, that is placed and covered by its queue's own quota, and
 * behind that a 1 for each that is placed (cover.ts): every preemption makes this word greater.
 */
function potentialOf(queues: readonly QueueView[], jobs: readonly Job[]): string {
  const inOrder = jobs.toSorted(byImportance);
  const placed = inOrder.filter(({ placement }) => placement.length > 0);
  const covered = new Set(
    queues.flatMap(({ name, spec }) => [
      ...coveredOf(
        placed.filter((job) => job.spec.queue === name),
        quotaUnits(spec.nominalQuota, Number.POSITIVE_INFINITY),
      ),
    ]),
  );
  const bit = (isSet: boolean) => (isSet ? "1" : "0");
  return (
    inOrder.map(({ id }) => bit(covered.has(id))).join("") +
    inOrder.map((job) => bit(placed.includes(job))).join("")
  );
}

const roundsMax = 60;

test("with any quotas preemption never loops: a potential strictly rises, and decisions come to rest", () => {
  let preemptions = 0;
  fc.assert(
    fc.property(
      anyCores,
      anyQueues,
      fc.array(anyJob, { minLength: 1, maxLength: 9 }),
      (cores, queues, inputs) => {
        let jobs: Job[] = [];
        let sequence = 0;
        let decisions: Decision[] = [];
        for (let round = 0; round < roundsMax; round += 1) {
          // Jobs come one after the other, so that late and important ones find the room taken.
          if (jobs.length < inputs.length)
            jobs = [...jobs, jobOf(inputs[jobs.length]!, jobs.length)];
          const before = potentialOf(queues, jobs);
          decisions = decidePlacement(snapshotOf(cores, jobs, { queues, nowMs: 1e6 + sequence }));
          sequence += 1;
          jobs = jobs.map((job) => applyAll(job, decisions, round));
          const evicted = decisions.filter(({ kind }) => kind === "preempt").length;
          preemptions += evicted;
          if (evicted > 0) ok(potentialOf(queues, jobs) > before, "the potential rises");
          checkQuotas(queues, jobs);
          for (const job of jobs)
            ok(job.placement.length === 0 || job.placement.length >= job.spec.workers.min);
          if (decisions.length === 0 && jobs.length === inputs.length) return;
        }
        deepEqual(decisions, [], "decisions come to rest");
      },
    ),
    { numRuns: 500 },
  );
  ok(preemptions > 50, `${preemptions} preemptions were tried`);
});

test("no wedge: in one cycle a gang starts wherever room may be taken for it", () => {
  let started = 0;
  fc.assert(
    fc.property(anyCores, fc.array(anyJob, { maxLength: 6 }), anyJob, (cores, inputs, late) => {
      // One core each and no quota: then room may be counted.
      const plain = (input: JobInput) => ({ ...input, cpu: 1, queue: "default" });
      let jobs = inputs.map((input, index) => jobOf(plain(input), index));
      for (let round = 0; round < 20; round += 1) {
        const decisions = decidePlacement(snapshotOf(cores, jobs));
        if (decisions.length === 0) break;
        jobs = jobs.map((job) => applyAll(job, decisions, round));
      }
      const job = jobOf(plain(late), 99);
      const { priority, workers } = job.spec;
      const all = cores.reduce((total, one) => total + one, 0);
      const protectedCores = jobs.reduce((total, { placement, spec }) => {
        if (spec.priority < priority) return total;
        if (spec.priority > priority) return total + placement.length;
        return total + Math.min(placement.length, spec.workers.min);
      }, 0);
      const decisions = decidePlacement(snapshotOf(cores, [...jobs, job]));
      const own = decisions.find((one) => one.kind !== "reserve" && one.jobId === job.id)!;
      const isPossible = all - protectedCores >= workers.min;
      equal(own.kind, isPossible ? "place" : "queue");
      if (isPossible) started += 1;
      else ok(own.kind === "queue" && own.message.length > 10, "a wait has a reason");
    }),
    { numRuns: 500 },
  );
  ok(started > 100);
});
