/** What a simulated run is given, and what came out of it. */
import { randomFor } from "./random.ts";

/** A fault of the plan. What it hits is chosen when its time comes, from its own two draws. */
export interface Planned {
  readonly index: number;
  readonly atMs: number;
  /** In [0, 1): of which kind. */
  readonly kind: number;
  /** In [0, 1): whom it hits, and for how long. */
  readonly a: number;
  readonly b: number;
}

export interface RunOptions {
  readonly seed: number;
  /** Only these faults of the seed's plan; default all of them. */
  readonly only?: readonly number[] | undefined;
}

export interface Outcome {
  readonly seed: number;
  readonly events: number;
  /** Indices of the faults that were planned. */
  readonly planned: readonly number[];
  /** Of each kind, so many were done. */
  readonly faults: Readonly<Record<string, number>>;
  /** What did not hold. */
  readonly violation?: string | undefined;
  readonly trace: readonly string[];
}

export type Scenario = (options: RunOptions) => Promise<Outcome>;

export const scenarioNames = ["group", "group-fast", "group-batches", "platform"] as const;
export type ScenarioName = (typeof scenarioNames)[number];

export interface PlanOptions {
  readonly untilMs: number;
  readonly everyMs: number;
  /** Another plan of the same seed: its name, and its first index. */
  readonly name?: string;
  readonly firstIndex?: number;
}

/** The seed's faults: at random times up to `untilMs`, `everyMs` apart on average. */
export function planOf(
  { seed, only }: RunOptions,
  { untilMs, everyMs, name = "faults", firstIndex = 0 }: PlanOptions,
): readonly Planned[] {
  const random = randomFor(seed, name);
  const plan: Planned[] = [];
  let atMs = 0;
  for (let index = firstIndex; ; index += 1) {
    atMs += random() * 2 * everyMs;
    if (atMs > untilMs) break;
    plan.push({ index, atMs, kind: random(), a: random(), b: random() });
  }
  return only === undefined ? plan : plan.filter(({ index }) => only.includes(index));
}

/** The same failure with fewer faults: drops halves, then quarters, … then single ones, while it still fails. */
export async function shrink(
  run: (only: readonly number[]) => Promise<Outcome>,
  failed: Outcome,
  triesMax = 200,
): Promise<Outcome> {
  let best = failed;
  let tries = 0;
  for (let size = Math.ceil(best.planned.length / 2); size >= 1; ) {
    const before = best.planned.length;
    for (let from = 0; from < best.planned.length && tries < triesMax; ) {
      tries += 1;
      const only = best.planned.filter((_, place) => place < from || place >= from + size);
      const outcome = await run(only);
      if (outcome.violation === undefined) from += size;
      else best = outcome;
    }
    if (tries >= triesMax) return best;
    if (size > 1) size = Math.ceil(size / 2);
    else if (best.planned.length === before) return best;
  }
  return best;
}
