/** Runs of the Pollux simulator in worker threads: one workload under one policy each. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { RunResult } from "@coxswain/sim-pollux";

export type PolicyName = "goodput" | "tiresias" | "optimus";

export interface PolluxTask {
  readonly folder: string;
  readonly policy: PolicyName;
  readonly workload: number;
  /** What each change of a job's workers costs. */
  readonly moveSeconds: number;
  /** Under our policy, the batch that each job keeps; absent: it is chosen along with the workers. */
  readonly keptBatch?: "as submitted" | "least";
  /** All jobs are submitted at once. */
  readonly isBurst?: boolean;
}

/** Results in the order of the tasks. */
export async function runAll(
  tasks: readonly PolluxTask[],
  onDone: (task: PolluxTask, result: RunResult) => void,
): Promise<readonly RunResult[]> {
  const results = new Array<RunResult>(tasks.length);
  const queue = [...tasks.entries()];
  const drain = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [index, task] = next;
      const result = await runOne(task);
      results[index] = result;
      onDone(task, result);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, drain));
  return results;
}

function runOne(task: PolluxTask): Promise<RunResult> {
  const thread = new Worker(new URL("./pollux-worker.ts", import.meta.url), { workerData: task });
  return new Promise((resolve, reject) => {
    thread.on("message", resolve);
    thread.on("error", reject);
  });
}
