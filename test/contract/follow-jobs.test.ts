/** The jobs that a service keeps of the log, on a real nats-server. */
import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { followJobs } from "@coxswain/bus";
import type { JobId } from "@coxswain/domain";
import { exampleJob } from "@coxswain/domain/testing";
import { startTestBus } from "@coxswain/embedded/testing";

test("of the jobs that have ended only the newest are kept, and all that have not", async (t) => {
  const { bus } = await startTestBus(t);
  const stop = new AbortController();
  t.after(() => stop.abort());
  const view = followJobs(bus, { signal: stop.signal, endedMax: 2 });
  const submit = (jobId: JobId) =>
    bus.append({
      ...{ name: "job.submitted", jobId, id: `${jobId}.submitted`, source: "job-api" },
      payload: { job: exampleJob(jobId, { steps: 1, workers: { min: 1, max: 1 } }) },
    });
  const cancel = (jobId: JobId) =>
    bus.append({
      ...{ name: "job.cancelled", jobId, id: `${jobId}.cancelled`, source: "scheduler" },
      payload: { epoch: 1 },
    });
  const ids = ["a", "b", "c", "d", "e"] as JobId[];
  for (const id of ids) await submit(id);
  for (const id of ["d", "a", "c"] as JobId[]) await cancel(id);
  // What comes late about one that is forgotten is passed over.
  const { sequence } = await cancel("b" as JobId);
  equal(await view.reached(sequence, 10_000), true);
  deepEqual([...view.jobs.keys()].sort(), ["b", "c", "e"]);
});
