/**
 * One scheduler that serves a load: virtual time goes on by what each decision really takes, and by
 * what each fact costs in the log. So the total includes our own slowness, and no machine's noise
 * elsewhere.
 */
import { performance } from "node:perf_hooks";
import { type Job, type JobFact, next } from "@coxswain/domain";
import { ClusterState, type Decision, decideCycle, isAboutJob } from "@coxswain/scheduling";
import { EventQueue } from "@coxswain/sim";
import { queueViews, roomyNodes, type Workload } from "./workloads.ts";

type Event =
  | { readonly kind: "arrives"; readonly workload: Workload }
  | { readonly kind: "done"; readonly jobId: string; readonly placed: number };

interface Entry {
  job: Job;
  readonly workload: Workload;
  leftMs: number;
  placedAtMs: number;
  /** Counts placements: the end that was expected of an older one does not come. */
  placed: number;
  admittedMs: number | undefined;
}

export interface Served {
  readonly totalMs: number;
  /** Arrival to the first placement, by class. */
  readonly admitMs: ReadonlyMap<string, readonly number[]>;
  readonly decisionMs: readonly number[];
  readonly facts: number;
  readonly preemptions: number;
  readonly unfinished: number;
}

type Untimed = {
  [Name in JobFact["name"]]: {
    readonly name: Name;
    readonly payload: Extract<JobFact, { name: Name }>["payload"];
  };
}[JobFact["name"]];

class Server {
  readonly #state = new ClusterState();
  readonly #queue = new EventQueue<Event>();
  readonly #entries = new Map<string, Entry>();
  readonly #factMs: number;
  readonly #decisionMs: number[] = [];
  #nowMs = 0;
  #facts = 0;
  #preemptions = 0;

  constructor(workloads: readonly Workload[], factMs: number) {
    this.#factMs = factMs;
    this.#state.setQueues(queueViews());
    for (const node of roomyNodes) this.#state.setNode(node);
    for (const workload of workloads)
      this.#queue.add(workload.arrivesAtMs, { kind: "arrives", workload });
  }

  run(): Served {
    for (let atMs = this.#queue.nextAtMs; atMs !== undefined; atMs = this.#queue.nextAtMs) {
      this.#nowMs = Math.max(this.#nowMs, atMs);
      while ((this.#queue.nextAtMs ?? Number.POSITIVE_INFINITY) <= this.#nowMs)
        this.#handle(this.#queue.take()!.event);
      this.#cycle();
    }
    const entries = [...this.#entries.values()];
    const admitMs = new Map<string, number[]>();
    for (const { workload, admittedMs } of entries)
      if (admittedMs !== undefined)
        admitMs.set(workload.class.name, [
          ...(admitMs.get(workload.class.name) ?? []),
          admittedMs - workload.arrivesAtMs,
        ]);
    return {
      totalMs: this.#nowMs,
      admitMs,
      decisionMs: this.#decisionMs,
      facts: this.#facts,
      preemptions: this.#preemptions,
      unfinished: entries.filter(({ job }) => job.state.kind !== "succeeded").length,
    };
  }

  #handle(event: Event): void {
    if (event.kind === "arrives") {
      const { workload } = event;
      const { job } = workload;
      const leftMs = workload.class.runtimeMs;
      const entry = { job, workload, leftMs, placedAtMs: 0, placed: 0, admittedMs: undefined };
      this.#entries.set(job.id, entry);
      this.#state.setJob(job);
      return;
    }
    const entry = this.#entries.get(event.jobId)!;
    if (entry.placed !== event.placed) return;
    const step = entry.job.spec.steps ?? 1;
    this.#fold(entry, {
      name: "training.finished",
      payload: { step, weightsSha256: "0".repeat(64), metrics: {} },
    });
    this.#fold(entry, {
      name: "model.exported",
      payload: { path: "none", format: "none", step, files: [] },
    });
  }

  #cycle(): void {
    const beginMs = performance.now();
    const decisions = decideCycle(this.#state, this.#nowMs);
    const tookMs = performance.now() - beginMs;
    this.#decisionMs.push(tookMs);
    this.#nowMs += tookMs;
    for (const decision of decisions) this.#apply(decision);
    // What it said itself wakes it: room that was given back may start somebody.
    if (decisions.length > 0) this.#cycle();
  }

  #apply(decision: Decision): void {
    if (!isAboutJob(decision)) return;
    const entry = this.#entries.get(decision.jobId)!;
    this.#nowMs += this.#factMs;
    this.#facts += 1;
    switch (decision.kind) {
      case "queue": {
        const { reason, message, position } = decision;
        return this.#fold(entry, { name: "job.queued", payload: { reason, message, position } });
      }
      case "place":
        return this.#place(entry, decision);
      case "preempt": {
        entry.leftMs = Math.max(0, entry.leftMs - (this.#nowMs - entry.placedAtMs));
        entry.placed += 1;
        this.#preemptions += 1;
        return this.#fold(entry, { name: "job.preempted", payload: { reason: decision.reason } });
      }
      case "succeed": {
        const payload = { weightsSha256: "0".repeat(64), metrics: {} };
        return this.#fold(entry, { name: "job.succeeded", payload });
      }
      default:
        throw new Error(`job "${decision.jobId}" got an unexpected decision: ${decision.kind}`);
    }
  }

  #place(entry: Entry, decision: Extract<Decision, { kind: "place" }>): void {
    const { workers, engine } = decision;
    this.#fold(entry, { name: "job.placed", payload: { workers, engine } });
    const members = workers.map((worker) => ({ ...worker, shardFrom: 0, shardTo: 8 }));
    const generation = entry.job.generation + 1;
    this.#fold(entry, { name: "training.generation-formed", payload: { generation, members } });
    entry.placed += 1;
    entry.placedAtMs = this.#nowMs;
    entry.admittedMs ??= this.#nowMs;
    const { placed } = entry;
    this.#queue.add(this.#nowMs + entry.leftMs, { kind: "done", jobId: entry.job.id, placed });
  }

  #fold(entry: Entry, fact: Untimed): void {
    const sequence = entry.job.sequence + 1;
    const timed = { ...fact, jobId: entry.job.id, sequence, timeMs: this.#nowMs } as JobFact;
    entry.job = next(entry.job, timed);
    if (entry.job.state.kind === "succeeded") this.#state.removeJob(entry.job.id);
    else this.#state.setJob(entry.job);
  }
}

export function serve(workloads: readonly Workload[], factMs: number): Served {
  return new Server(workloads, factMs).run();
}
