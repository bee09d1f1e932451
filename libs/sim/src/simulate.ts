/**
 * Drives the real decision code in virtual time.
 *
 * One queue of events (jobs and nodes that come, workers that have started, work that is done); after
 * each moment one look, as in the scheduler's loop: snapshot, decide, apply by the real fold, until
 * nothing more is decided. No clock, no IO, no hidden state: a scenario always gives the same timeline.
 */
import {
  assert,
  fillUniform,
  isEnded,
  type Job,
  type JobFact,
  next,
  whyIllegal,
} from "@coxswain/domain";
import { isAboutJob, type JobDecision, type NodeView } from "@coxswain/scheduling";
import { EventQueue } from "./event-queue.ts";
import type { Entry, Outcome, Scenario, SimulatedJob } from "./scenario.ts";
import { Training } from "./training.ts";

type Event =
  | { readonly kind: "job"; readonly simulated: SimulatedJob }
  | { readonly kind: "node"; readonly node: NodeView }
  | { readonly kind: "silent" | "gone"; readonly nodeId: string }
  | { readonly kind: "started"; readonly jobId: string; readonly workerId: string }
  | { readonly kind: "done"; readonly jobId: string; readonly change: number }
  | { readonly kind: "look" };

interface Run {
  job: Job;
  readonly training: Training;
  /** Workers that have started and are neither lost nor told to go. */
  readonly ready: Set<string>;
  /** Counts the changes of who computes: what was expected before one is stale. */
  change: number;
}

/** A decision that brings forth decisions for ever is a bug of the decision code. */
const roundsMax = 100;
const startPurpose = 0x51;

export function simulate(scenario: Scenario): Outcome {
  return new Simulation(scenario).run();
}

class Simulation {
  readonly #scenario: Scenario;
  readonly #queue = new EventQueue<Event>();
  readonly #runs = new Map<string, Run>();
  /** Jobs that have not ended: what a look sees. */
  readonly #active = new Map<string, Run>();
  readonly #nodes = new Map<string, NodeView>();
  readonly #silent = new Set<string>();
  readonly #timeline: Entry[] = [];
  readonly #uniform = new Float32Array(1);
  #sequence = 0;
  #workers = 0;
  #looks = 0;
  #lookDueAtMs = Number.NEGATIVE_INFINITY;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    const beginMs = scenario.beginMs ?? 0;
    for (const { node, arrivesAtMs, lostAtMs } of scenario.nodes) {
      this.#queue.add(arrivesAtMs ?? beginMs, { kind: "node", node });
      if (lostAtMs === undefined) continue;
      this.#queue.add(lostAtMs, { kind: "silent", nodeId: node.nodeId });
      const goneAtMs = lostAtMs + scenario.costs.nodeTimeoutMs;
      this.#queue.add(goneAtMs, { kind: "gone", nodeId: node.nodeId });
    }
    for (const simulated of scenario.jobs) {
      this.#queue.add(simulated.arrivesAtMs, { kind: "job", simulated });
      this.#sequence = Math.max(this.#sequence, simulated.job.sequence);
    }
  }

  run(): Outcome {
    const { untilMs, beginMs = 0 } = this.#scenario;
    let nowMs = beginMs;
    for (let atMs = this.#queue.nextAtMs; atMs !== undefined && atMs <= untilMs; ) {
      nowMs = atMs;
      while (this.#queue.nextAtMs === nowMs) this.#handle(this.#queue.take()!.event, nowMs);
      this.#look(nowMs);
      atMs = this.#queue.nextAtMs;
    }
    const endedAtMs = this.#queue.size > 0 ? untilMs : nowMs;
    for (const { training } of this.#runs.values()) training.advance(endedAtMs);
    return {
      endedAtMs,
      timeline: this.#timeline,
      jobs: new Map([...this.#runs].map(([id, { job }]) => [id, job])),
      unitsDone: new Map([...this.#runs].map(([id, { training }]) => [id, training.unitsDone])),
      looks: this.#looks,
    };
  }

  #handle(event: Event, nowMs: number): void {
    switch (event.kind) {
      case "job":
        return this.#arrive(event.simulated, nowMs);
      case "node":
        this.#nodes.set(event.node.nodeId, event.node);
        return this.#note({ atMs: nowMs, kind: "node-arrived", nodeId: event.node.nodeId });
      case "silent":
        return this.#fallSilent(event.nodeId, nowMs);
      case "gone":
        this.#nodes.delete(event.nodeId);
        return;
      case "started":
        return this.#started(event.jobId, event.workerId, nowMs);
      case "done":
        return this.#done(event.jobId, event.change, nowMs);
      case "look":
        return;
    }
  }

  #arrive({ job, work }: SimulatedJob, nowMs: number): void {
    const training = new Training(work, this.#scenario.costs, nowMs);
    const ready = new Set(job.placement.map(({ workerId }) => workerId));
    const run: Run = { job, training, ready, change: 0 };
    this.#runs.set(job.id, run);
    this.#active.set(job.id, run);
    this.#note({ atMs: nowMs, kind: "arrived", jobId: job.id });
    if (job.state.kind === "running") this.#compute(run, nowMs);
    // Placed by the live system, not yet started: as if placed now.
    if (job.state.kind === "placed") {
      ready.clear();
      for (const { workerId } of job.placement) this.#start(run, workerId, nowMs);
    }
  }

  #fallSilent(nodeId: string, nowMs: number): void {
    this.#silent.add(nodeId);
    this.#note({ atMs: nowMs, kind: "node-lost", nodeId });
    for (const run of this.#active.values()) {
      const lost = run.job.placement.filter((worker) => worker.nodeId === nodeId);
      if (lost.filter(({ workerId }) => run.ready.delete(workerId)).length === 0) continue;
      this.#compute(run, nowMs);
      if (run.ready.size === 0) run.training.loseAll(nowMs);
    }
  }

  #start(run: Run, workerId: string, nowMs: number): void {
    const [least, most] = this.#scenario.costs.startMs;
    this.#workers += 1;
    const place = { seed: this.#scenario.seed, purpose: startPurpose, a: this.#workers };
    fillUniform(place, this.#uniform);
    const atMs = nowMs + Math.round(least + (most - least) * this.#uniform[0]!);
    this.#queue.add(atMs, { kind: "started", jobId: run.job.id, workerId });
  }

  #started(jobId: string, workerId: string, nowMs: number): void {
    const run = this.#active.get(jobId);
    const worker = run?.job.placement.find((placed) => placed.workerId === workerId);
    if (run === undefined || worker === undefined || this.#silent.has(worker.nodeId)) return;
    run.ready.add(workerId);
    // A group is founded by its minimum, together; whoever comes later joins it.
    const isFounded = run.training.computing > 0;
    if (isFounded || run.ready.size >= run.job.spec.workers.min) this.#compute(run, nowMs);
  }

  /** Who is ready computes, from now on. */
  #compute(run: Run, nowMs: number): void {
    const { training, ready, job } = run;
    if (training.computing === ready.size && run.change > 0) return;
    training.change(nowMs, ready.size);
    run.change += 1;
    this.#note({ atMs: nowMs, kind: "trains", jobId: job.id, workers: ready.size });
    this.#report(run, nowMs);
    if (ready.size > 0) this.#formGeneration(run, nowMs);
    const doneAtMs = training.doneAtMs;
    if (doneAtMs !== undefined)
      this.#queue.add(doneAtMs, { kind: "done", jobId: job.id, change: run.change });
  }

  #formGeneration(run: Run, nowMs: number): void {
    const { job, ready } = run;
    const members = job.placement
      .filter(({ workerId }) => ready.has(workerId))
      .map((worker) => ({ ...worker, shardFrom: 0, shardTo: 0 }));
    const payload = { generation: job.generation + 1, members };
    this.#fold(run, nowMs, { name: "training.generation-formed", payload });
  }

  #report(run: Run, nowMs: number): void {
    const { training, job } = run;
    if (training.unitsDone === 0) return;
    const rate = training.unitsPerSecond;
    const payload = {
      stepTo: Math.floor(training.unitsDone),
      steps: Math.ceil(Math.min(training.units, Number.MAX_SAFE_INTEGER)),
      epoch: 0,
      samplesPerSecond: rate * job.spec.batchSize,
      stepMs: rate === 0 ? (job.progress?.stepMs ?? 0) : 1000 / rate,
      metrics: {},
    };
    this.#fold(run, nowMs, { name: "training.progressed", payload });
  }

  #done(jobId: string, change: number, nowMs: number): void {
    const run = this.#active.get(jobId);
    if (run === undefined || run.change !== change) return;
    run.training.stop(nowMs);
    const step = Math.floor(run.training.units);
    const weightsSha256 = "0".repeat(64);
    this.#fold(run, nowMs, {
      name: "training.finished",
      payload: { step, weightsSha256, metrics: {} },
    });
    const model = { path: "none", format: "none", step, files: [] };
    this.#fold(run, nowMs, { name: "model.exported", payload: model });
  }

  /** One cycle of the scheduler, and the ones that its own facts wake. */
  #look(nowMs: number): void {
    let round = 0;
    for (; round < roundsMax; round += 1) {
      this.#looks += 1;
      const decisions = this.#scenario.decide({
        nowMs,
        jobs: [...this.#active.values()].map(({ job }) => job),
        nodes: [...this.#nodes.values()],
      });
      let isChanged = false;
      // Scenarios have no online services.
      for (const decision of decisions.filter(isAboutJob))
        isChanged = this.#apply(decision, nowMs) || isChanged;
      if (!isChanged) break;
    }
    assert(round < roundsMax, `at ${nowMs} ms decisions bring forth decisions without end`);
    this.#lookAgain(nowMs);
  }

  #lookAgain(nowMs: number): void {
    const { lookEveryMs } = this.#scenario;
    if (lookEveryMs === undefined || this.#lookDueAtMs > nowMs || this.#active.size === 0) return;
    this.#lookDueAtMs = nowMs + lookEveryMs;
    this.#queue.add(this.#lookDueAtMs, { kind: "look" });
  }

  #apply(decision: JobDecision, nowMs: number): boolean {
    const run = this.#active.get(decision.jobId);
    if (run === undefined) return false;
    switch (decision.kind) {
      case "queue": {
        const { reason, message, position, jobId } = decision;
        const name = "job.queued";
        if (!this.#fold(run, nowMs, { name, payload: { reason, message, position } })) return false;
        this.#note({ atMs: nowMs, kind: "waits", jobId, reason });
        return true;
      }
      case "place":
        return this.#place(run, decision, nowMs);
      case "preempt":
        return this.#preempt(run, decision, nowMs);
      case "succeed": {
        const payload = { weightsSha256: "0".repeat(64), metrics: {} };
        return this.#end(run, nowMs, { name: "job.succeeded", payload });
      }
      case "fail": {
        const { code, message } = decision;
        return this.#end(run, nowMs, { name: "job.failed", payload: { error: { code, message } } });
      }
      case "end": {
        const name = decision.how === "suspended" ? "job.suspended" : "job.cancelled";
        return this.#end(run, nowMs, { name, payload: {} });
      }
    }
  }

  #place(run: Run, decision: Extract<JobDecision, { kind: "place" }>, nowMs: number): boolean {
    const before = new Set(run.job.placement.map(({ workerId }) => workerId));
    const { workers, engine, reason, jobId } = decision;
    if (!this.#fold(run, nowMs, { name: "job.placed", payload: { workers, engine } })) return false;
    const added = workers.filter(({ workerId }) => !before.delete(workerId));
    const counts = { workers: workers.length, added: added.length, removed: before.size };
    this.#note({ atMs: nowMs, kind: "placed", jobId, reason, ...counts });
    for (const workerId of before) run.ready.delete(workerId);
    for (const { workerId } of added) this.#start(run, workerId, nowMs);
    if (run.training.computing > 0) this.#compute(run, nowMs);
    return true;
  }

  #preempt(run: Run, decision: Extract<JobDecision, { kind: "preempt" }>, nowMs: number): boolean {
    const { reason, jobId, by } = decision;
    if (!this.#fold(run, nowMs, { name: "job.preempted", payload: { reason } })) return false;
    this.#note({ atMs: nowMs, kind: "preempted", jobId, by });
    run.ready.clear();
    this.#compute(run, nowMs);
    run.training.stop(nowMs);
    return true;
  }

  #end(run: Run, nowMs: number, fact: Untimed): boolean {
    if (!this.#fold(run, nowMs, fact)) return false;
    run.ready.clear();
    run.training.stop(nowMs);
    run.change += 1;
    this.#note({ atMs: nowMs, kind: "ended", jobId: run.job.id });
    if (isEnded(run.job)) this.#active.delete(run.job.id);
    return true;
  }

  #fold(run: Run, nowMs: number, fact: Untimed): boolean {
    if (whyIllegal(run.job, fact.name) !== undefined) return false;
    this.#sequence += 1;
    const whole = { ...fact, jobId: run.job.id, sequence: this.#sequence, timeMs: nowMs };
    run.job = next(run.job, whole as JobFact);
    return true;
  }

  #note(entry: Entry): void {
    this.#timeline.push(entry);
  }
}

type Untimed = {
  [Name in JobFact["name"]]: {
    readonly name: Name;
    readonly payload: Extract<JobFact, { name: Name }>["payload"];
  };
}[JobFact["name"]];
