/**
 * A job in the simulated cluster: it trains, it is measured, and it changes its batch.
 *
 * After the simulator of Pollux (OSDI'21 artifact): each change of the allocation pauses the job;
 * epochs end in whole seconds; the batch is chosen anew at each turn.
 */
import {
  type Batch,
  divide,
  fitThroughput,
  type GradientNoise,
  gainOf,
  type StepModel,
  type StepObservation,
  tuneBatch,
} from "@coxswain/goodput";
import type { Application } from "./application.ts";

export interface JobOptions {
  readonly name: string;
  readonly application: Application;
  readonly submitSeconds: number;
  /** The batch of all workers; undefined where it adapts. */
  readonly fixedBatch: number | undefined;
  /** Default: when its batch adapts. */
  readonly isMeasured?: boolean | undefined;
  /** What each change of the allocation costs. */
  readonly moveSeconds: number;
}

export class SimulatedJob {
  readonly name: string;
  readonly application: Application;
  readonly submitSeconds: number;
  readonly fixedBatch: number | undefined;
  /** Node of each worker; equal ones adjacent. */
  allocation: readonly number[] = [];
  doneSeconds: number | undefined;
  epoch = 0;
  /** Steps of the base batch that the work so far is worth. */
  progress = 0;
  moves = 0;
  gpuSeconds = 0;
  /** What a live system could have measured, by configuration. */
  readonly profile = new Map<string, StepObservation>();
  model: StepModel | undefined;
  noise: GradientNoise | undefined;
  readonly #moveSeconds: number;
  readonly #isMeasured: boolean;
  #nowSeconds = 0;
  #pauseSeconds = 0;
  #placement: readonly number[] = [];
  #batch: Batch = { samples: 0, accumulated: 0 };

  constructor(options: JobOptions) {
    this.name = options.name;
    this.application = options.application;
    this.submitSeconds = options.submitSeconds;
    this.fixedBatch = options.fixedBatch;
    this.#moveSeconds = options.moveSeconds;
    this.#isMeasured = options.isMeasured ?? options.fixedBatch === undefined;
  }

  /** Most workers that it has been measured with. */
  get workersTried(): number {
    return Math.max(0, ...[...this.profile.values()].map(({ workers }) => workers));
  }

  /** Gives it other workers; the same allocation changes nothing. */
  allocate(allocation: readonly number[]): void {
    if (String(allocation) === String(this.allocation)) return;
    this.allocation = allocation;
    this.#placement = placementOf(allocation);
    if (allocation.length === 0) return;
    this.moves += 1;
    this.#pauseSeconds = this.#moveSeconds;
    this.#chooseBatch();
  }

  advance(seconds: number): void {
    if (this.doneSeconds !== undefined || this.allocation.length === 0) {
      this.#nowSeconds += seconds;
      return;
    }
    const pause = Math.min(this.#pauseSeconds, seconds);
    this.#pauseSeconds -= pause;
    this.#pass(pause);
    let rest = seconds - pause;
    while (rest > 0 && this.doneSeconds === undefined) rest -= this.#train(rest);
    this.#nowSeconds += rest;
  }

  /** Trains up to `seconds`, or to the end of the epoch. Returns the seconds used. */
  #train(seconds: number): number {
    const { samples, accumulated } = this.#batch;
    const workers = this.allocation.length;
    const total = workers * samples * (accumulated + 1);
    const { stepSeconds, syncSeconds } = this.application.times(this.#placement, samples);
    const noise = this.application.noise(total, this.epoch);
    this.#measure(noise, stepSeconds, syncSeconds);
    const gain = gainOf(noise, total / this.application.limits.base);
    const rate = gain / (stepSeconds + accumulated * (stepSeconds - syncSeconds));
    const goal = this.application.progressAfter(this.epoch + 1);
    let used = seconds;
    if (this.progress + rate * seconds < goal) this.progress += rate * seconds;
    else {
      used = Math.min(seconds, Math.round((goal - this.progress) / rate));
      this.epoch += 1;
      this.progress = goal;
    }
    this.#pass(used);
    if (this.epoch >= this.application.epochs) this.doneSeconds = this.#nowSeconds;
    this.#chooseBatch();
    return used;
  }

  #pass(seconds: number): void {
    this.#nowSeconds += seconds;
    this.gpuSeconds += seconds * this.allocation.length;
  }

  #measure(noise: GradientNoise, stepSeconds: number, syncSeconds: number): void {
    this.noise = noise;
    const [nodes, workers] = [this.#placement.length, this.allocation.length];
    const { samples } = this.#batch;
    const key = `${nodes},${workers},${samples}`;
    if (!this.#isMeasured || this.profile.has(key)) return;
    const gradSeconds = stepSeconds - syncSeconds;
    this.profile.set(key, { nodes, workers, samples, gradSeconds, stepSeconds });
    this.model = fitThroughput([...this.profile.values()]);
  }

  #chooseBatch(): void {
    const workers = this.allocation.length;
    const { limits } = this.application;
    const { samples, accumulated } = this.#bestBatch(workers);
    const most = Math.floor(limits.max / (workers * (accumulated + 1)));
    this.#batch = { accumulated, samples: Math.min(samples, most) };
  }

  #bestBatch(workers: number): Batch {
    const { limits } = this.application;
    if (this.fixedBatch !== undefined) return divide(this.fixedBatch, workers, limits);
    if (this.model === undefined || this.noise === undefined)
      return divide(Math.max(limits.base, limits.localMin * workers), workers, limits);
    const spread = { nodes: this.#placement.length, workers };
    return tuneBatch(this.model, this.noise, spread, limits);
  }
}

/** Workers on each node, in the order of the allocation: `[3, 3, 5]` becomes `[2, 1]`. */
function placementOf(allocation: readonly number[]): number[] {
  const placement: number[] = [];
  for (const [index, node] of allocation.entries()) {
    if (index > 0 && node === allocation[index - 1]) placement[placement.length - 1]! += 1;
    else placement.push(1);
  }
  return placement;
}
