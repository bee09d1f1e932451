/** What the launcher shall bring into being: each node's complete list of workers. */
import type { WantedWorker } from "@coxswain/bus";
import type { Job } from "@coxswain/domain";
import { vectorOf } from "@coxswain/scheduling";

/** Jobs that hold a placement, node by node; the workers of those that are stopping leave. */
export function wantedByNode(
  jobs: Iterable<Job>,
  traceparents: ReadonlyMap<string, string>,
): Map<string, WantedWorker[]> {
  const wanted = new Map<string, WantedWorker[]>();
  for (const job of jobs) {
    const isLeaving = job.state.kind === "stopping";
    const holds = isLeaving || ["placed", "running", "finishing"].includes(job.state.kind);
    if (!holds || job.engine === undefined) continue;
    const traceparent = traceparents.get(job.id);
    for (const { workerId, nodeId } of job.placement) {
      const worker = {
        jobId: job.id,
        workerId,
        engine: job.engine,
        resources: vectorOf(job.spec.resources),
        ...(isLeaving && { isLeaving }),
        ...(traceparent === undefined ? {} : { traceparent }),
      };
      wanted.set(nodeId, [...(wanted.get(nodeId) ?? []), worker]);
    }
  }
  return wanted;
}
