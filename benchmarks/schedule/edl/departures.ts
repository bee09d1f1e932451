/** How workers end before their job does, as a simulation's timeline shows it. */
import type { Entry } from "@coxswain/sim";

/** Workers that trained; one that was called off before it had started is none. */
export interface Departures {
  /** Told to go, and gone between two steps: their group lost none. */
  readonly left: number;
  /** Gone without having been told. */
  readonly killed: number;
}

/** @param isMeant jobs whose workers count */
export function departuresOf(
  timeline: readonly Entry[],
  isMeant: (jobId: string) => boolean,
): Departures {
  const training = new Map<string, number>();
  /** Told to go at this moment, by job. */
  const told = new Map<string, { readonly atMs: number; readonly workers: number }>();
  let [left, killed] = [0, 0];
  for (const entry of timeline) {
    if (entry.kind === "placed") told.set(entry.jobId, { ...entry, workers: entry.removed });
    else if (entry.kind === "preempted" || entry.kind === "ended")
      told.set(entry.jobId, { ...entry, workers: Number.POSITIVE_INFINITY });
    else if (entry.kind === "trains") {
      const fewer = (training.get(entry.jobId) ?? 0) - entry.workers;
      training.set(entry.jobId, entry.workers);
      if (fewer <= 0 || !isMeant(entry.jobId)) continue;
      const order = told.get(entry.jobId);
      const asked = order?.atMs === entry.atMs ? Math.min(fewer, order.workers) : 0;
      left += asked;
      killed += fewer - asked;
    }
  }
  return { left, killed };
}
