/** What comes after an update of a run; undefined: that was the last one. */
import type { ComputeOrder } from "./compute-messages.ts";

export function nextInRun<Order extends ComputeOrder>(order: Order): Order | undefined {
  const { run, group, steps } = order;
  if (run === undefined || group === undefined || run.done + 1 === run.count) return undefined;
  const step = order.step + steps;
  const turn = group.turn === 0 ? 1 : 0;
  return { ...order, step, group: { ...group, step, turn }, run: { ...run, done: run.done + 1 } };
}
