/**
 * Forecasts that were answered, held against what came: each one that has come true is a score by
 * which the next intervals are calibrated. Nothing is forecast for this alone, and nothing is kept
 * beyond the process: a new one begins with the scores of simulated clusters.
 */
import type { Job } from "@coxswain/domain";
import { Calibration, type ForecastKind, type Interval, kindOf, scoreOf } from "@coxswain/sim";

/** Beyond these the oldest are forgotten. */
const openMax = 1000;
/** Who asks again at once learns nothing new. */
const everyMs = 60_000;

interface Open {
  readonly jobId: string;
  readonly kind: ForecastKind;
  readonly raw: Interval;
  readonly askedAtMs: number;
}

export interface Forecasts {
  readonly starts: Interval | null;
  readonly ends: Interval | null;
}

export class ForecastBook {
  readonly #calibration = new Calibration();
  #open: Open[] = [];

  /** The intervals that are answered, with the coverage that they promise. */
  answer(job: Job, raw: Forecasts, jobs: ReadonlyMap<string, Job>, nowMs: number): Forecasts {
    this.#settle(jobs);
    const one = (what: "start" | "end", interval: Interval | null) => {
      if (interval === null) return null;
      const kind = kindOf(what, job);
      this.#remember({ jobId: job.id, kind, raw: interval, askedAtMs: nowMs });
      return this.#calibration.calibrated(kind, interval, nowMs);
    };
    return { starts: one("start", raw.starts), ends: one("end", raw.ends) };
  }

  #remember(open: Open): void {
    const isKnown = this.#open.some(
      ({ jobId, kind, askedAtMs }) =>
        jobId === open.jobId && kind === open.kind && open.askedAtMs - askedAtMs < everyMs,
    );
    if (!isKnown) this.#open = [...this.#open, open].slice(-openMax);
  }

  #settle(jobs: ReadonlyMap<string, Job>): void {
    this.#open = this.#open.filter((open) => {
      const job = jobs.get(open.jobId);
      // A job that failed or was cancelled ended for reasons that no forecast is about.
      if (job === undefined || (job.endedAtMs !== undefined && job.state.kind !== "succeeded"))
        return false;
      const cameAtMs = cameAt(open, job);
      if (cameAtMs === undefined) return true;
      this.#calibration.note(open.kind, scoreOf(open.raw, open.askedAtMs, cameAtMs));
      return false;
    });
  }
}

function cameAt({ kind, askedAtMs }: Open, job: Job): number | undefined {
  if (kind !== "start") return job.endedAtMs;
  return [job.startedAtMs, job.placedAtMs].find((atMs) => atMs !== undefined && atMs > askedAtMs);
}
