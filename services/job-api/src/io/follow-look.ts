/** What the scheduler sees, from its own records: nodes, queues, services. */
import type { Bus } from "@coxswain/bus";
import { type DecisionRecord, foldLook, type Look, noLook } from "@coxswain/scheduling";

export interface LookView {
  readonly look: Look;
}

const retryMs = 500;

/** Follows the records until `signal` aborts; a broken connection is taken up again. */
export function followLook(bus: Bus, signal: AbortSignal): LookView {
  const view = { look: noLook };
  const follow = async () => {
    while (!signal.aborted) {
      await readOnce(bus, signal, view).catch(() => undefined); // Again, from the beginning.
      await bus.clock.delay(retryMs, signal);
    }
  };
  void follow();
  return view;
}

async function readOnce(bus: Bus, signal: AbortSignal, view: { look: Look }): Promise<void> {
  for await (const { record } of bus.followRecords({ follow: true, signal })) {
    const one = record as DecisionRecord;
    if (one.kind === "saw") view.look = foldLook(view.look, one);
  }
}
