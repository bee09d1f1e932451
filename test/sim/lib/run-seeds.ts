/** Many seeds on several threads. */
import { Worker } from "node:worker_threads";
import type { Outcome } from "./scenario.ts";
import type { Order, ThreadOptions } from "./seed-thread.ts";

export interface SeedsOptions extends ThreadOptions {
  readonly threads: number;
  readonly orders: Iterable<Order>;
  readonly onOutcome?: (outcome: Outcome) => void;
  /** Ends at the first violation. */
  readonly stopsAtViolation?: boolean;
}

export interface Total {
  seeds: number;
  events: number;
  readonly faults: Record<string, number>;
  readonly violations: Outcome[];
}

/** Hands the orders out one by one; returns when all are answered, or at the first violation. */
export async function runSeeds(options: SeedsOptions): Promise<Total> {
  const total: Total = { seeds: 0, events: 0, faults: {}, violations: [] };
  const orders = options.orders[Symbol.iterator]();
  let isOver = false;
  const nextOrder = () => {
    const next = orders.next();
    return isOver || next.done ? undefined : next.value;
  };
  const note = (outcome: Outcome) => {
    total.seeds += 1;
    total.events += outcome.events;
    for (const [kind, count] of Object.entries(outcome.faults))
      total.faults[kind] = (total.faults[kind] ?? 0) + count;
    if (outcome.violation !== undefined) total.violations.push(outcome);
    if (outcome.violation !== undefined && options.stopsAtViolation) isOver = true;
    options.onOutcome?.(outcome);
  };
  const runThread = async () => {
    const first = nextOrder();
    if (first === undefined) return;
    const thread = new Worker(new URL("./seed-thread.ts", import.meta.url), {
      workerData: {
        scenario: options.scenario,
        mutation: options.mutation,
      } satisfies ThreadOptions,
    });
    try {
      await new Promise<void>((resolve, reject) => {
        thread.once("error", reject);
        thread.on("message", (outcome: Outcome) => {
          note(outcome);
          const order = nextOrder();
          if (order === undefined) resolve();
          else thread.postMessage(order);
        });
        thread.postMessage(first);
      });
    } finally {
      await thread.terminate();
    }
  };
  await Promise.all(Array.from({ length: options.threads }, runThread));
  return total;
}

export function* seedsFrom(first: number, count: number, rest: Omit<Order, "seed"> = {}) {
  for (let seed = first; seed < first + count; seed += 1) yield { seed, ...rest } satisfies Order;
}
