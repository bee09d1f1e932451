/** What a commit log and a job's events say of pauses and of steps that were done again. */
import type { FollowedEvent } from "@coxswain/cli";
import type { Commit } from "./commit-log.ts";
import { median } from "./numbers.ts";

/** Steps that one worker committed more than once: what a step back would look like. */
export function repeatedSteps(commits: readonly Commit[]): number {
  const seen = new Set<string>();
  let repeated = 0;
  for (const { worker, step } of commits) {
    const key = `${worker} ${step}`;
    if (seen.has(key)) repeated += 1;
    seen.add(key);
  }
  return repeated;
}

/** Milliseconds between the first commits of a step and of the one before it. */
function gapsOf(commits: readonly Commit[]) {
  const firstAtMs = new Map<number, number>();
  for (const { step, atMs } of commits)
    firstAtMs.set(step, Math.min(atMs, firstAtMs.get(step) ?? atMs));
  const at = (step: number) =>
    (firstAtMs.get(step) ?? Number.NaN) - (firstAtMs.get(step - 1) ?? Number.NaN);
  return { at, all: [...firstAtMs.keys()].map(at).filter(Number.isFinite) };
}

export const usualStepMs = (commits: readonly Commit[]) => median(gapsOf(commits).all);

/** Milliseconds that the step at each change of membership took beyond a usual one, by cause. */
export function pausesOf(
  commits: readonly Commit[],
  events: readonly FollowedEvent[],
): Readonly<Record<"join" | "leave" | "loss", number[]>> {
  const gapAt = gapsOf(commits).at;
  const usualMs = usualStepMs(commits);
  const pauses: Record<"join" | "leave" | "loss", number[]> = { join: [], leave: [], loss: [] };
  for (const { name, payload } of events) {
    if (name !== "training.generation-formed" || !(payload.cause in pauses)) continue;
    const pauseMs = gapAt(payload.fromStep) - usualMs;
    if (Number.isFinite(pauseMs))
      pauses[payload.cause as keyof typeof pauses].push(Math.max(0, pauseMs));
  }
  return pauses;
}
