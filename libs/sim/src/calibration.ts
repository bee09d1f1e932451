/**
 * Intervals that hold what they promise: conformal calibration of forecasts.
 *
 * Each forecast that has come true, or not, leaves two scores: by how much the truth was earlier
 * than the interval's beginning, and later than its end, as logarithms of the time that was left.
 *
 *   early = ln(earliest - now) - ln(actual - now)        late = ln(actual - now) - ln(latest - now)
 *
 * The interval of a new forecast is moved out (or in) at either end by the quantile of the scores
 * that leaves half of the misses there. For exchangeable forecasts it then holds the truth in
 * `coverage` of the cases, whatever their distribution (Romano, Patterson and Candès, "Conformalized
 * Quantile Regression", 2019). Kinds of forecasts are calibrated apart: who waits is harder to
 * foresee than who runs. Until own forecasts have come true, scores of simulated clusters count
 * (`prior-scores.ts`); each own one counts as much as one of those.
 */
import { assert, type Job } from "@coxswain/domain";
import type { Interval } from "./forecast.ts";
import { priorScores } from "./prior-scores.ts";

export const forecastKinds = ["start", "end-waiting", "end-running"] as const;
export type ForecastKind = (typeof forecastKinds)[number];

export interface Score {
  readonly early: number;
  readonly late: number;
}

/** Part of the truths that the interval holds. */
export const coverage = 0.9;
/** The newest own scores of each kind. */
const scoresMax = 500;
const secondsMin = 1;

const remaining = (atMs: number, nowMs: number) => Math.max(secondsMin, (atMs - nowMs) / 1000);

export function kindOf(what: "start" | "end", job: Job): ForecastKind {
  if (what === "start") return "start";
  return job.members.length > 0 ? "end-running" : "end-waiting";
}

export function scoreOf(raw: Interval, nowMs: number, actualMs: number): Score {
  const actual = remaining(actualMs, nowMs);
  return {
    early: Math.log(remaining(raw.earliestMs, nowMs) / actual),
    late: Math.log(actual / remaining(raw.latestMs, nowMs)),
  };
}

export class Calibration {
  readonly #scores: ReadonlyMap<ForecastKind, Score[]>;

  /** @param prior scores that count before there are own ones */
  constructor(prior: Readonly<Record<ForecastKind, readonly Score[]>> = priorScores) {
    this.#scores = new Map(forecastKinds.map((kind) => [kind, [...prior[kind]]]));
  }

  note(kind: ForecastKind, score: Score): void {
    const scores = this.#scores.get(kind)!;
    scores.push(score);
    if (scores.length > scoresMax) scores.shift();
  }

  /** The interval with the promised coverage. */
  calibrated(kind: ForecastKind, raw: Interval, nowMs: number): Interval {
    const scores = this.#scores.get(kind)!;
    const early = quantile(scores.map((score) => score.early));
    const late = quantile(scores.map((score) => score.late));
    const at = (atMs: number, factor: number) =>
      nowMs + Math.round(remaining(atMs, nowMs) * factor * 1000);
    return {
      expectedMs: raw.expectedMs,
      earliestMs: Math.min(raw.expectedMs, at(raw.earliestMs, Math.exp(-early))),
      latestMs: Math.max(raw.expectedMs, at(raw.latestMs, Math.exp(late))),
    };
  }
}

/** The score that a new one exceeds in half of the misses: the rank counts the new one too. */
function quantile(scores: readonly number[]): number {
  assert(scores.length > 0, "there are scores");
  const sorted = scores.toSorted((a, b) => a - b);
  const rank = Math.ceil((sorted.length + 1) * (1 - (1 - coverage) / 2));
  return sorted[Math.min(rank, sorted.length) - 1]!;
}
