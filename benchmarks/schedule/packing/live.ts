/** Fills a cluster through the scheduler's own decisions: one job after the other, and nobody leaves. */
import { type JobFact, next, type Resources } from "@coxswain/domain";
import {
  ClusterState,
  decideCycle,
  type NodeChoice,
  type NodeView,
  type ResourceName,
  vectorOf,
} from "@coxswain/scheduling";
import { queuedJob } from "@coxswain/sim";

export type Amounts = Partial<Record<ResourceName, number>>;

export interface FilledLive {
  /** Of all capacity, by resource; NaN where nobody was rejected. */
  readonly atFirstRejection: Amounts;
  readonly atEnd: Amounts;
  readonly placed: number;
  readonly rejected: number;
}

const engine = { name: "native", identity: "native" };

export function nodeOf(index: number, resources: Resources): NodeView {
  const nodeId = `n${String(index).padStart(5, "0")}`;
  return { nodeId, capacity: vectorOf(resources), engines: [engine], isAlive: true };
}

/** Each job is one worker with these resources; who finds no room goes away. */
export function fillLive(
  nodes: readonly NodeView[],
  workers: Iterable<Resources>,
  nodeChoice: NodeChoice,
): FilledLive {
  const state = new ClusterState();
  state.setPolicy({ freezeMs: 0, nodeChoice });
  for (const node of nodes) state.setNode(node);
  const used: Amounts = {};
  let [placed, rejected, sequence] = [0, 0, 0];
  let atFirstRejection: Amounts = {};
  for (const resources of workers) {
    sequence += 1;
    const spec = { workers: { min: 1, max: 1 }, resources };
    const job = queuedJob({ id: `j${sequence}`, atMs: sequence, sequence, spec });
    state.setJob(job);
    const [decision] = decideCycle(state, sequence);
    if (decision?.kind === "place") {
      const { workers: chosen, engine: own } = decision;
      const payload = { workers: chosen, engine: own };
      const fact = { name: "job.placed", jobId: job.id, sequence, timeMs: sequence, payload };
      state.setJob(next(job, fact as JobFact));
      placed += 1;
      for (const [name, amount = 0] of Object.entries(vectorOf(resources)))
        used[name as ResourceName] = (used[name as ResourceName] ?? 0) + amount;
    } else {
      state.removeJob(job.id);
      rejected += 1;
      if (rejected === 1) atFirstRejection = { ...used };
    }
  }
  const share = (amounts: Amounts) => shareOf(amounts, nodes);
  return { atFirstRejection: share(atFirstRejection), atEnd: share(used), placed, rejected };
}

function shareOf(used: Amounts, nodes: readonly NodeView[]): Amounts {
  const names = Object.keys(used) as ResourceName[];
  return Object.fromEntries(
    names.map((name) => {
      const all = nodes.reduce((sum, { capacity }) => sum + (capacity[name] ?? 0), 0);
      return [name, all === 0 ? 0 : used[name]! / all];
    }),
  );
}
