/**
 * Drives the real decision code in virtual time.
 *
 * One queue of events (jobs and nodes that come, workers that have started, work that is done); after
 * each moment one look, as in the scheduler's loop: snapshot, decide, apply by the real fold, until
 * nothing more is decided. No clock, no IO, no hidden state: a scenario always gives the same timeline.
 */
import { assert, isEnded, type JobFact, next, whyIllegal } from "@coxswain/domain";
import {
  isAboutJob,
  type JobDecision,
  type PlacedWorker,
  type ReserveDecision,
} from "@coxswain/scheduling";
import { agendaOf, type Event } from "./agenda.ts";
import { Decider } from "./decider.ts";
import type { EventQueue } from "./event-queue.ts";
import { finishedFacts, generationFact, noHash, progressFact, type Untimed } from "./facts.ts";
import { newRun, type Run } from "./run.ts";
import type { Entry, Outcome, Scenario, SimulatedJob } from "./scenario.ts";
import { Serving } from "./serving.ts";
import { Starts } from "./starts.ts";

/** A decision that brings forth decisions for ever is a bug of the decision code. */
const roundsMax = 100;

export function simulate(scenario: Scenario): Outcome {
  return new Simulation(scenario).run();
}

class Simulation {
  readonly #scenario: Scenario;
  readonly #queue: EventQueue<Event>;
  readonly #runs = new Map<string, Run>();
  /** Jobs that have not ended: what a look sees. */
  readonly #active = new Map<string, Run>();
  readonly #decider: Decider;
  readonly #services = new Map<string, Serving>();
  readonly #starts: Starts;
  readonly #silent = new Set<string>();
  readonly #timeline: Entry[] = [];
  #sequence = 0;
  #looks = 0;
  #lookDueAtMs = Number.NEGATIVE_INFINITY;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    this.#decider = new Decider(scenario);
    this.#queue = agendaOf(scenario);
    this.#starts = new Starts(scenario.costs, scenario.seed);
    for (const service of scenario.services ?? [])
      this.#services.set(service.name, new Serving(service));
    this.#sequence = Math.max(0, ...scenario.jobs.map(({ job }) => job.sequence));
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
        this.#decider.setNode(event.node);
        return this.#note({ atMs: nowMs, kind: "node-arrived", nodeId: event.node.nodeId });
      case "silent":
        return this.#fallSilent(event.nodeId, nowMs);
      case "gone":
        return this.#decider.removeNode(event.nodeId);
      case "started":
        return this.#started(event.jobId, event.workerId, nowMs);
      case "done":
        return this.#done(event.jobId, event.change, nowMs);
      case "demand":
        return this.#demand(event.service, event.replicas);
      case "serving":
        return this.#tellServing(event.service, nowMs);
      case "look":
        return;
    }
  }

  #demand(name: string, replicas: number): void {
    const serving = this.#services.get(name)!;
    serving.demand(replicas);
    this.#decider.setService(serving.view);
  }

  #reserve(decision: ReserveDecision, nowMs: number): void {
    const { service, missing } = decision;
    const serving = this.#services.get(service)!;
    const starts = serving.reserve(decision, (nodeId) => this.#starts.worksAtMs(nodeId, nowMs));
    this.#decider.setService(serving.view);
    this.#note({ atMs: nowMs, kind: "reserved", service, replicas: serving.reserved, missing });
    for (const atMs of [nowMs, ...new Set(starts)])
      this.#queue.add(atMs, { kind: "serving", service });
  }

  #tellServing(service: string, nowMs: number): void {
    const replicas = this.#services.get(service)!.replicasAt(nowMs);
    this.#note({ atMs: nowMs, kind: "serves", service, replicas });
  }

  #arrive(simulated: SimulatedJob, nowMs: number): void {
    const run = newRun(simulated, this.#scenario.costs, nowMs);
    const { job, ready } = run;
    this.#runs.set(job.id, run);
    this.#active.set(job.id, run);
    this.#decider.setJob(job);
    this.#note({ atMs: nowMs, kind: "arrived", jobId: job.id });
    if (job.state.kind === "running") this.#compute(run, nowMs);
    // Placed by the live system, not yet started: as if placed now.
    if (job.state.kind === "placed") {
      ready.clear();
      for (const worker of job.placement) this.#start(run, worker, nowMs);
    }
  }

  #fallSilent(nodeId: string, nowMs: number): void {
    this.#silent.add(nodeId);
    this.#note({ atMs: nowMs, kind: "node-lost", nodeId });
    for (const [service, serving] of this.#services) {
      serving.lose(nodeId);
      this.#tellServing(service, nowMs);
    }
    for (const run of this.#active.values()) {
      const lost = run.job.placement.filter((worker) => worker.nodeId === nodeId);
      if (lost.filter(({ workerId }) => run.ready.delete(workerId)).length === 0) continue;
      this.#compute(run, nowMs);
      if (run.ready.size === 0) run.training.loseAll(nowMs);
    }
  }

  #start(run: Run, { workerId, nodeId }: PlacedWorker, nowMs: number): void {
    const event = { kind: "started", jobId: run.job.id, workerId } as const;
    this.#queue.add(this.#starts.worksAtMs(nodeId, nowMs), event);
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
    if (training.unitsDone > 0) this.#fold(run, nowMs, progressFact(job, training));
    if (ready.size > 0) this.#fold(run, nowMs, generationFact(run.job, ready));
    const doneAtMs = training.doneAtMs;
    if (doneAtMs !== undefined)
      this.#queue.add(doneAtMs, { kind: "done", jobId: job.id, change: run.change });
  }

  #done(jobId: string, change: number, nowMs: number): void {
    const run = this.#active.get(jobId);
    if (run === undefined || run.change !== change) return;
    run.training.stop(nowMs);
    for (const fact of finishedFacts(run.training)) this.#fold(run, nowMs, fact);
  }

  /** One cycle of the scheduler, and the ones that its own facts wake. */
  #look(nowMs: number): void {
    let round = 0;
    for (; round < roundsMax; round += 1) {
      this.#looks += 1;
      let isChanged = false;
      for (const decision of this.#decider.decide(nowMs)) {
        if (isAboutJob(decision)) isChanged = this.#apply(decision, nowMs) || isChanged;
        else this.#reserve(decision, nowMs);
      }
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
        const payload = { weightsSha256: noHash, metrics: {} };
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
    const before = new Map(run.job.placement.map(({ workerId, nodeId }) => [workerId, nodeId]));
    const { workers, engine, reason, jobId } = decision;
    if (!this.#fold(run, nowMs, { name: "job.placed", payload: { workers, engine } })) return false;
    const added = workers.filter(({ workerId }) => !before.delete(workerId));
    const counts = { workers: workers.length, added: added.length, removed: before.size };
    this.#note({ atMs: nowMs, kind: "placed", jobId, reason, ...counts });
    for (const [workerId, nodeId] of before) {
      run.ready.delete(workerId);
      this.#starts.leave(nodeId, nowMs);
    }
    for (const worker of added) this.#start(run, worker, nowMs);
    if (run.training.computing > 0) this.#compute(run, nowMs);
    return true;
  }

  #preempt(run: Run, decision: Extract<JobDecision, { kind: "preempt" }>, nowMs: number): boolean {
    const { reason, jobId, by } = decision;
    for (const { nodeId } of run.job.placement) this.#starts.leave(nodeId, nowMs);
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
    if (isEnded(run.job)) this.#decider.removeJob(run.job.id);
    else this.#decider.setJob(run.job);
    return true;
  }

  #note(entry: Entry): void {
    this.#timeline.push(entry);
  }
}
