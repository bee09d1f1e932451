/** One job while it trains: which workers compute, how far it is, when it will be done. */
import type { Costs, Work } from "./scenario.ts";

export class Training {
  readonly #work: Work;
  readonly #costs: Costs;
  #unitsDone: number;
  #unitsAtCheckpoint: number;
  /** Time computed so far: the checkpoints' clock. */
  #computedMs = 0;
  #computing = 0;
  #sinceMs: number;

  constructor(work: Work, costs: Costs, nowMs: number) {
    this.#work = work;
    this.#costs = costs;
    this.#unitsDone = work.unitsDone ?? 0;
    this.#unitsAtCheckpoint = this.#unitsDone;
    this.#sinceMs = nowMs;
  }

  get unitsDone(): number {
    return this.#unitsDone;
  }

  get units(): number {
    return this.#work.units;
  }

  get computing(): number {
    return this.#computing;
  }

  get unitsPerSecond(): number {
    return this.#computing === 0 ? 0 : this.#work.unitsPerSecond(this.#computing);
  }

  /** Brings the work up to now. A pause lies in the future of the clock until it is over. */
  advance(nowMs: number): void {
    const ms = nowMs - this.#sinceMs;
    if (ms <= 0) return;
    const rate = this.unitsPerSecond;
    const units = (rate * ms) / 1000;
    if (rate > 0) this.#checkpoint(ms, rate);
    this.#unitsDone = Math.min(this.#work.units, this.#unitsDone + units);
    this.#sinceMs = nowMs;
  }

  #checkpoint(ms: number, rate: number): void {
    const every = this.#costs.checkpointEveryMs;
    const before = this.#computedMs;
    this.#computedMs += ms;
    const newest = Math.floor(this.#computedMs / every) * every;
    if (newest > before)
      this.#unitsAtCheckpoint = this.#unitsDone + (rate * (newest - before)) / 1000;
  }

  /** From now on, after the pause, so many workers compute. The first ones need no pause. */
  change(nowMs: number, workers: number): void {
    this.advance(nowMs);
    const isPaused = this.#computing > 0 && workers > 0;
    this.#computing = workers;
    this.#sinceMs = Math.max(this.#sinceMs, nowMs + (isPaused ? this.#costs.changePauseMs : 0));
  }

  /** The last workers were told to go: the newest one wrote a checkpoint first. */
  stop(nowMs: number): void {
    this.change(nowMs, 0);
    this.#unitsAtCheckpoint = this.#unitsDone;
  }

  /** All workers were lost: what came after the newest checkpoint is done again. */
  loseAll(nowMs: number): void {
    this.change(nowMs, 0);
    this.#unitsDone = this.#unitsAtCheckpoint;
  }

  /** When the work will be done if nothing changes; undefined: never. */
  get doneAtMs(): number | undefined {
    const rate = this.unitsPerSecond;
    if (rate <= 0 || this.#work.units === Number.POSITIVE_INFINITY) return undefined;
    return this.#sinceMs + Math.ceil(((this.#work.units - this.#unitsDone) / rate) * 1000);
  }
}
