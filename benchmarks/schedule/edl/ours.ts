/**
 * An experiment with our decisions: the scheduler's own code in virtual time, with the times of the
 * original's Kubernetes for starting and stopping.
 *
 * `as the original`: each job's master and parameter servers run as well, as a gang of its own of ten
 * workers with 4.1 cores (the master's core is shared out), beside the trainers.
 * `our own`: trainers only, since they exchange gradients among themselves.
 */
import type { Resources } from "@coxswain/domain";
import { type Entry, queuedJob, type SimulatedJob, simulate } from "@coxswain/sim";
import { departuresOf } from "./departures.ts";
import {
  baseLoadCpu,
  clusterNodes,
  type Experiment,
  pserversPerJob,
  type Run,
  type Sample,
  type Shape,
  serverShape,
  shapes,
} from "./experiment.ts";

export type Shapes = "as the original" | "our own";

/** Pods take 2 to 5 s to start, as in the original's logs; a worker leaves after a step. */
const costs = {
  startMs: [2000, 5000],
  stopMs: 1000,
  changePauseMs: 92,
  nodeTimeoutMs: 10_000,
  checkpointEveryMs: 600_000,
} as const;
/** Time before the experiment, in which the online service comes up. */
const settleMs = 60_000;
const service = "nginx";

const resourcesOf = ({ cpu, memoryMib }: Shape): Resources => ({ cpu, memory: memoryMib, gpu: 0 });

function jobsOf(experiment: Experiment, kind: Shapes): SimulatedJob[] {
  const { trainersMin, trainersMax } = experiment;
  const endless = { units: Number.POSITIVE_INFINITY, unitsPerSecond: (workers: number) => workers };
  return experiment.submitAtS.flatMap((atS, index) => {
    const arrivesAtMs = settleMs + atS * 1000;
    const jobOf = (id: string, sequence: number, shape: Shape, min: number, max: number) => {
      const spec = { workers: { min, max }, resources: resourcesOf(shape) };
      const job = queuedJob({ id, atMs: arrivesAtMs, sequence, spec });
      return { job, arrivesAtMs, work: endless };
    };
    const trainers = jobOf(
      `${index}-trainers`,
      2 * index + 2,
      shapes.trainer,
      trainersMin,
      trainersMax,
    );
    if (kind === "our own") return [trainers];
    const servers = jobOf(
      `${index}-servers`,
      2 * index + 1,
      serverShape,
      pserversPerJob,
      pserversPerJob,
    );
    return [servers, trainers];
  });
}

export function runOurs(experiment: Experiment, kind: Shapes, seed: number): Run {
  const sizes = clusterNodes(seed);
  const nodes = sizes.map(({ cpu, memoryMib }, index) => ({
    node: {
      nodeId: `n${String(index).padStart(3, "0")}`,
      capacity: { cpu: cpu - baseLoadCpu, memoryMib, gpu: 0 },
      engines: [{ name: "native", identity: "native" }],
      isAlive: true,
    },
  }));
  const demand = experiment.online.map(({ atS, pods }) => ({
    atMs: atS === 0 ? 0 : settleMs + atS * 1000,
    replicas: pods,
  }));
  const outcome = simulate({
    nodes,
    jobs: jobsOf(experiment, kind),
    services:
      demand.length === 0 ? [] : [{ name: service, resources: resourcesOf(shapes.nginx), demand }],
    costs,
    seed,
    untilMs: settleMs + experiment.endS * 1000,
    lookEveryMs: 1000,
  });
  const cpuTotal = sizes.reduce((sum, { cpu }) => sum + cpu, 0);
  const samples = new Ledger(experiment, kind, sizes.length).read(outcome.timeline);
  const gone = departuresOf(outcome.timeline, (jobId) => jobId.endsWith("trainers"));
  return { experiment, cpuTotal, samples, gone };
}

/** Reads a timeline second by second. */
class Ledger {
  readonly #experiment: Experiment;
  readonly #kind: Shapes;
  readonly #baseCpu: number;
  readonly #placed = new Map<string, number>();
  readonly #training = new Map<string, number>();
  #replicas = 0;
  #serving = 0;

  constructor(experiment: Experiment, kind: Shapes, nodes: number) {
    this.#experiment = experiment;
    this.#kind = kind;
    this.#baseCpu = nodes * baseLoadCpu;
  }

  read(timeline: readonly Entry[]): Sample[] {
    const samples: Sample[] = [];
    let next = 0;
    for (let atS = 0; atS <= this.#experiment.endS; atS += 1) {
      for (; next < timeline.length && timeline[next]!.atMs <= settleMs + atS * 1000; next += 1)
        this.#note(timeline[next]!);
      samples.push(this.#sample(atS));
    }
    return samples;
  }

  #note(entry: Entry): void {
    switch (entry.kind) {
      case "arrived":
        this.#placed.set(entry.jobId, 0);
        return;
      case "placed":
        this.#placed.set(entry.jobId, entry.workers);
        return;
      case "trains":
        this.#training.set(entry.jobId, entry.workers);
        return;
      case "preempted":
        this.#placed.set(entry.jobId, 0);
        return;
      case "reserved":
        this.#replicas = entry.replicas;
        return;
      case "serves":
        this.#serving = entry.replicas;
        return;
      default:
        return;
    }
  }

  #sample(atS: number): Sample {
    const jobs = this.#experiment.submitAtS.map((_, index) => index);
    const trainers = jobs.map((index) => this.#training.get(`${index}-trainers`) ?? 0);
    const cpuOf = (id: string) => (id.endsWith("trainers") ? shapes.trainer.cpu : serverShape.cpu);
    let cpuUsed = this.#baseCpu + this.#replicas * shapes.nginx.cpu;
    for (const [id, count] of this.#placed) cpuUsed += count * cpuOf(id);
    return {
      atS,
      cpuUsed,
      trainers,
      isSubmitted: jobs.map((index) => this.#placed.has(`${index}-trainers`)),
      isAble: jobs.map((index) => this.#isAble(index, trainers[index]!)),
      online: this.#serving,
    };
  }

  #isAble(index: number, trainers: number): boolean {
    const hasServers =
      this.#kind === "our own" || this.#training.get(`${index}-servers`) === pserversPerJob;
    return trainers >= this.#experiment.trainersMin && hasServers;
  }
}
