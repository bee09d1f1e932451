/** One run of the Pollux simulator, in a thread of its own. */
import { parentPort, workerData } from "node:worker_threads";
import {
  Goodput,
  loadApplications,
  loadWorkload,
  Optimus,
  type Policy,
  type Submission,
  simulate,
  Tiresias,
} from "@coxswain/sim-pollux";
import type { PolluxTask } from "./pollux-runs.ts";

const task = workerData as PolluxTask;
const applications = loadApplications(task.folder);

function policyOf(workload: readonly Submission[]): Policy {
  if (task.policy === "tiresias") return new Tiresias(workload);
  if (task.policy === "optimus") return new Optimus();
  const { keptBatch } = task;
  if (keptBatch === undefined) return new Goodput(task.moveSeconds);
  const leastOf = ({ application }: Submission) => applications.get(application)!.limits.base;
  return new Goodput(task.moveSeconds, {
    keptBatch: keptBatch === "least" ? leastOf : ({ batch }) => batch,
  });
}

const submitted = loadWorkload(task.folder, task.workload);
const workload = task.isBurst
  ? submitted.map((submission) => ({ ...submission, submitSeconds: 0 }))
  : submitted;
const result = simulate(applications, workload, policyOf(workload), {
  moveSeconds: task.moveSeconds,
  now: () => performance.now(),
});
parentPort!.postMessage(result);
