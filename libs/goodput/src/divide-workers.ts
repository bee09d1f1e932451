/**
 * Divides a number of workers among jobs so that the sum of what the jobs make of them is largest.
 *
 * Each job brings the counts that it could use and what each is worth. The best division is found
 * exactly, by dynamic programming over the workers (a knapsack with a choice per job):
 *
 *   best(jobs, room) = max over k of worth(job, k) + best(other jobs, room - k)
 *
 * jobs x room x counts steps: 160 jobs on 64 GPUs take a few milliseconds, so that neither a
 * heuristic nor a solver is needed. Ties go to the smaller count, and so to the same answer always.
 */
import { assert } from "@coxswain/domain";

export interface Choice {
  readonly workers: number;
  /** Whatever is added up; may be negative. */
  readonly worth: number;
}

/**
 * @param choices for each job what it could have; a job that may have none names 0 workers
 * @returns the number of workers of each job; undefined when not all jobs can have one of their choices
 */
export function divideWorkers(
  choices: readonly (readonly Choice[])[],
  room: number,
): readonly number[] | undefined {
  assert(Number.isInteger(room) && room >= 0, "room is a number of workers");
  let best = new Float64Array(room + 1);
  const chosen = choices.map((ofJob) => {
    const { worth, workers } = bestWith(best, ofJob);
    best = worth;
    return workers;
  });
  if (best[room] === Number.NEGATIVE_INFINITY) return undefined;
  let left = room;
  return chosen
    .toReversed()
    .map((workers) => {
      const count = workers[left]!;
      left -= count;
      return count;
    })
    .reverse();
}

/** The best worth of one job more, for each room, and how many workers it has then. */
function bestWith(before: Float64Array, choices: readonly Choice[]) {
  const room = before.length - 1;
  const worth = new Float64Array(room + 1).fill(Number.NEGATIVE_INFINITY);
  const workers = new Uint32Array(room + 1);
  for (const choice of choices.toSorted((a, b) => a.workers - b.workers))
    for (let at = choice.workers; at <= room; at += 1) {
      const value = before[at - choice.workers]! + choice.worth;
      if (!(value > worth[at]! + negligible)) continue;
      worth[at] = value;
      workers[at] = choice.workers;
    }
  return { worth, workers };
}

/** Differences that are the arithmetic's own do not decide. */
const negligible = 1e-12;
