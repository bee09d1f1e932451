/** What one event costs when the cluster is full: nodes and jobs of a given size, most jobs waiting. */
import { performance } from "node:perf_hooks";
import { type Job, type JobFact, next } from "@coxswain/domain";
import { ClusterState, type Decision, decideCycle, isAboutJob } from "@coxswain/scheduling";
import { queuedJob } from "@coxswain/sim";
import { seeded } from "../../lib/numbers.ts";

/** `rigid`: one size of gang for each job, one priority. `elastic`: half may grow, three priorities. */
export type Mix = "rigid" | "elastic";

export interface Size {
  readonly nodes: number;
  readonly gpusPerNode: number;
  readonly jobs: number;
  readonly mix: Mix;
}

export interface Growth extends Size {
  readonly running: number;
  /** The first cycle, which fills the empty cluster. */
  readonly fillMs: number;
  /** For each event: telling the state, and the cycle that follows. */
  readonly eventMs: readonly number[];
}

const coresPerNode = 16;

function jobAt(sequence: number, { mix, gpusPerNode }: Size, random: () => number): Job {
  const min = 1 + Math.floor(random() * 4);
  const workers = { min, max: min + (mix === "rigid" || random() < 0.5 ? 0 : 2) };
  const cpu = 1 + Math.floor(random() * 4);
  const resources = { cpu, memory: 1024, gpu: gpusPerNode > 0 ? 1 : 0 };
  const priority = mix === "rigid" ? 0 : Math.floor(random() * 3) * 100;
  const id = `j${String(sequence).padStart(6, "0")}`;
  return queuedJob({ id, atMs: sequence, sequence, spec: { workers, resources, priority } });
}

class Cluster {
  readonly state = new ClusterState();
  readonly jobs = new Map<string, Job>();
  /** A second goes by with each cycle, so that freeze windows end during the measurement. */
  #nowMs: number;

  constructor({ nodes, gpusPerNode }: Size, nowMs: number) {
    this.#nowMs = nowMs;
    for (let index = 0; index < nodes; index += 1)
      this.state.setNode({
        nodeId: `n${String(index).padStart(5, "0")}`,
        capacity: { cpu: coresPerNode, memoryMib: 65_536, gpu: gpusPerNode },
        engines: [{ name: "native", identity: "native" }],
        isAlive: true,
      });
  }

  set(job: Job): void {
    this.jobs.set(job.id, job);
    this.state.setJob(job);
  }

  end(jobId: string): void {
    this.jobs.delete(jobId);
    this.state.removeJob(jobId);
  }

  /** Milliseconds of the decision alone, after which it is carried out. */
  cycle(): { readonly tookMs: number; readonly decisions: number } {
    this.#nowMs += 1000;
    const beginMs = performance.now();
    const decisions = decideCycle(this.state, this.#nowMs);
    const tookMs = performance.now() - beginMs;
    for (const decision of decisions) this.#apply(decision);
    return { tookMs, decisions: decisions.length };
  }

  #apply(decision: Decision): void {
    if (!isAboutJob(decision)) return;
    const job = this.jobs.get(decision.jobId)!;
    const fact = this.#factOf(decision, job);
    const timed = { ...fact, jobId: job.id, sequence: job.sequence + 1, timeMs: this.#nowMs };
    let after = next(job, timed as JobFact);
    if (decision.kind === "place") {
      const payload = { generation: after.generation + 1, members: [] };
      const name = "training.generation-formed" as const;
      after = next(after, { ...timed, name, payload });
    }
    this.set(after);
  }

  #factOf(decision: Decision, job: Job): Pick<JobFact, "name" | "payload"> {
    if (decision.kind === "place") {
      const { workers, engine } = decision;
      return { name: "job.placed", payload: { workers, engine } };
    }
    if (decision.kind === "preempt")
      return { name: "job.preempted", payload: { reason: decision.reason } };
    if (decision.kind !== "queue") throw new Error(`job "${job.id}": ${decision.kind}`);
    const { reason, message, position } = decision;
    return { name: "job.queued", payload: { reason, message, position } };
  }
}

/** In turn a job ends and a new one comes, `events` times. */
export function measureGrowth(size: Size, events: number): Growth {
  const { nodes, jobs } = size;
  const random = seeded(nodes + jobs);
  const cluster = new Cluster(size, jobs + events);
  for (let sequence = 1; sequence <= jobs; sequence += 1)
    cluster.set(jobAt(sequence, size, random));
  const fillMs = cluster.cycle().tookMs;
  for (let round = 0; round < 20 && cluster.cycle().decisions > 0; round += 1);
  const eventMs: number[] = [];
  const running = [...cluster.jobs.values()].filter(({ state }) => state.kind === "running");
  for (let event = 0; event < events; event += 1) {
    const beginMs = performance.now();
    if (event % 2 === 0) {
      const gone = running[Math.floor(random() * running.length)]!;
      cluster.end(gone.id);
    } else cluster.set(jobAt(jobs + event, size, random));
    const toldMs = performance.now() - beginMs;
    eventMs.push(toldMs + cluster.cycle().tookMs);
    while (cluster.cycle().decisions > 0);
  }
  return { ...size, running: running.length, fillMs, eventMs };
}
