/**
 * The compute thread's side of a checkpoint. Parameters and optimizer slots change at the end of a
 * step only, so the saver copies them while the next step's gradients are computed. Who is about to
 * change them waits until they are copied: as a rule they have been for long.
 */
import { AppError } from "@coxswain/domain";
import type { SaverEnds, Snapshot } from "./save-messages.ts";

const copyTimeoutMs = 120_000;

export class Snapshots {
  readonly #port: SaverEnds["snapshots"];
  readonly #copied: Int32Array;
  readonly #pausedMs: Float64Array;
  #asked = 0;

  constructor({ snapshots, copied, pausedMs }: SaverEnds) {
    this.#port = snapshots;
    this.#copied = new Int32Array(copied);
    this.#pausedMs = new Float64Array(pausedMs);
  }

  /** The state as it is now shall be copied. */
  ask(snapshot: Snapshot): void {
    this.#asked += 1;
    this.#port.postMessage(snapshot);
  }

  /** Call it before the state changes. @throws AppError `worker-failed` when nobody copies */
  settle(): void {
    if (Atomics.load(this.#copied, 0) === this.#asked) return;
    const startedMs = performance.now();
    for (;;) {
      const copied = Atomics.load(this.#copied, 0);
      if (copied === this.#asked) break;
      if (Atomics.wait(this.#copied, 0, copied, copyTimeoutMs) === "timed-out")
        throw new AppError("worker-failed", `no copy for a checkpoint in ${copyTimeoutMs} ms`);
    }
    this.#pausedMs[0]! += performance.now() - startedMs;
  }
}
