/**
 * The autoscaling rules of PaddlePaddle EDL at the time of its experiments (PaddlePaddle/cloud at
 * 27ed9f0, Apache-2.0), written anew from their description, defects included and switchable.
 */

export interface ElasticJob {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** As stored in its Kubernetes Job; a dry run does not change it. */
  readonly parallelism: number;
  readonly cpu: number;
  readonly memoryMib: number;
  readonly gpu: number;
  readonly pods: { readonly total: number; readonly running: number; readonly pending: number };
}

/** Sums over all nodes; requests are of all pods, pending ones included. */
export interface Inventory {
  readonly cpuTotal: number;
  readonly cpuRequested: number;
  readonly memoryTotalMib: number;
  readonly memoryRequestedMib: number;
  readonly gpuTotal: number;
  readonly gpuLimit: number;
  readonly nodes: readonly { readonly cpuIdle: number; readonly memoryIdleMib: number }[];
}

export interface Defects {
  /** A placed trainer is added to its node's idle room: fragmentation never stops a scale-up. */
  readonly addsToIdleNode: boolean;
  /** A job with one pod that cannot run takes no part, in nothing. */
  readonly excludesPartlyRunning: boolean;
}

export interface Rules {
  /** Part of the cores that may be requested. */
  readonly maxLoadDesired: number;
  readonly defects: Defects;
}

interface Draft {
  cpuRequested: number;
  memoryRequestedMib: number;
  gpuLimit: number;
  readonly nodes: { cpuIdle: number; memoryIdleMib: number }[];
}

export const fulfillment = ({ parallelism, min, max }: ElasticJob) =>
  min === max ? 1 : (parallelism - min) / (max - min);

/** Least fulfilled first; then the one whose trainers need less. */
export function sortedJobs(jobs: readonly ElasticJob[]): ElasticJob[] {
  return jobs
    .filter(({ min, max }) => min < max)
    .toSorted(
      (a, b) =>
        fulfillment(a) - fulfillment(b) ||
        a.gpu - b.gpu ||
        a.cpu - b.cpu ||
        a.memoryMib - b.memoryMib,
    );
}

/** Those that the rules look at: all of them only when some job has no pod that runs. */
export function eligibleJobs(jobs: readonly ElasticJob[], defects: Defects): ElasticJob[] {
  const isWaiting = jobs.some(({ pods }) => pods.total > 0 && pods.total === pods.pending);
  if (isWaiting || !defects.excludesPartlyRunning) return [...jobs];
  return jobs.filter(({ pods }) => pods.total > 0 && pods.total === pods.running);
}

/** The trainers that each job shall have; jobs that keep theirs are left out. */
export function decideParallelism(
  jobs: readonly ElasticJob[],
  inventory: Inventory,
  rules: Rules,
): Map<string, number> {
  const draft: Draft = { ...inventory, nodes: inventory.nodes.map((node) => ({ ...node })) };
  const inOrder = sortedJobs(eligibleJobs(jobs, rules.defects));
  const more = new Map(inOrder.map(({ name }) => [name, 0]));
  for (let isChanged = true; isChanged; ) {
    isChanged = false;
    const change = (job: ElasticJob, by: number) => {
      if (by === 0) return;
      isChanged = true;
      more.set(job.name, more.get(job.name)! + by);
    };
    for (const job of inOrder)
      change(job, growth(job, job.parallelism + more.get(job.name)!, draft, inventory, rules));
    for (const job of inOrder.toReversed())
      change(job, shrinkage(job, job.parallelism + more.get(job.name)!, draft, inventory, rules));
  }
  return new Map(
    inOrder
      .filter(({ name }) => more.get(name) !== 0)
      .map(({ name, parallelism }) => [name, parallelism + more.get(name)!]),
  );
}

function request(job: ElasticJob, draft: Draft, by: number): void {
  draft.cpuRequested += job.cpu * by;
  draft.memoryRequestedMib += job.memoryMib * by;
  draft.gpuLimit += job.gpu * by;
}

function growth(
  job: ElasticJob,
  planned: number,
  draft: Draft,
  inventory: Inventory,
  { maxLoadDesired, defects }: Rules,
): number {
  if (planned >= job.max) {
    request(job, draft, job.max - planned);
    return job.max - planned;
  }
  if (inventory.memoryTotalMib - draft.memoryRequestedMib <= job.memoryMib) return 0;
  const node = draft.nodes.find(
    ({ cpuIdle, memoryIdleMib }) => cpuIdle >= job.cpu && memoryIdleMib >= job.memoryMib,
  );
  if (node === undefined) return 0;
  if (Math.floor(inventory.cpuTotal * maxLoadDesired) - draft.cpuRequested < job.cpu) return 0;
  if (job.gpu > 0 && inventory.gpuTotal - draft.gpuLimit < job.gpu) return 0;
  request(job, draft, 1);
  const sign = defects.addsToIdleNode ? 1 : -1;
  node.cpuIdle += sign * job.cpu;
  node.memoryIdleMib += sign * job.memoryMib;
  return 1;
}

function shrinkage(
  job: ElasticJob,
  planned: number,
  draft: Draft,
  inventory: Inventory,
  { maxLoadDesired }: Rules,
): number {
  const isOverloaded =
    draft.gpuLimit > inventory.gpuTotal * maxLoadDesired ||
    draft.cpuRequested > inventory.cpuTotal * maxLoadDesired;
  if (planned <= job.max && !(isOverloaded && planned > job.min)) return 0;
  request(job, draft, -1);
  return -1;
}
