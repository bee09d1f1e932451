/** Runs seeds in a thread of its own, with one mutation of the product or none. */
import { parentPort, workerData } from "node:worker_threads";
import { installMutation, type Mutation } from "./mutate.ts";
import { type Outcome, type RunOptions, type Scenario, shrink } from "./scenario.ts";

export interface ThreadOptions {
  readonly scenario: string;
  readonly mutation?: Mutation | undefined;
}

export interface Order extends RunOptions {
  readonly withTrace?: boolean | undefined;
  /** After a violation: look for fewer faults that lead to one. */
  readonly shrinks?: boolean | undefined;
}

const { scenario, mutation } = workerData as ThreadOptions;
if (mutation !== undefined) installMutation(mutation);
const { run } = (await import(`../${scenario}.ts`)) as { readonly run: Scenario };

async function answer(order: Order): Promise<Outcome> {
  const outcome = await run(order);
  const isToShrink = outcome.violation !== undefined && order.shrinks;
  const last = isToShrink
    ? await shrink((only) => run({ seed: order.seed, only }), outcome)
    : outcome;
  return order.withTrace || last.violation !== undefined ? last : { ...last, trace: [] };
}

parentPort!.on("message", async (order: Order) => parentPort!.postMessage(await answer(order)));
