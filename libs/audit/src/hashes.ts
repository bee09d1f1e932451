/** The hashes that a log tells: of checkpoints, of the end, of the exported model. */
import type { StoredEvent } from "@coxswain/events";
import type { ViolationKind } from "./report.ts";

type Complain = (kind: ViolationKind, message: string) => void;

/** What the log had told before the event. */
interface Told {
  readonly step: number;
  readonly stepMax: number;
  readonly steps: number | undefined;
}

export class Hashes {
  /** By step: the same step has the same bits, whoever computed it and however often. */
  readonly #weights = new Map<number, { readonly sha256: string; readonly generation: number }>();
  readonly #isExact: boolean;
  /** By step, the generation whose checkpoint was committed last; pruned ones stay: a restore may have been first. */
  readonly checkpoints = new Map<number, number>();
  #final: { readonly step: number; readonly sha256: string } | undefined;
  #finished: { readonly step: number; readonly sha256: string } | undefined;

  /** @param isExact false: a step that a later generation did again has bits of its own */
  constructor(isExact: boolean) {
    this.#isExact = isExact;
  }

  get finishedSha256(): string | undefined {
    return this.#finished?.sha256;
  }

  observe(event: StoredEvent, told: Told, complain: Complain): void {
    switch (event.name) {
      case "checkpoint.committed": {
        const { step, generation, weightsSha256, final } = event.payload;
        if (step > told.stepMax)
          complain("checkpoint-ahead", `step ${step} was saved, only ${told.stepMax} are told`);
        this.#compare({ step, sha256: weightsSha256, generation }, complain);
        this.checkpoints.set(step, generation);
        if (final) this.#final = { step, sha256: weightsSha256 };
        return;
      }
      case "training.finished":
        this.#finish(event.payload.step, event.payload.weightsSha256, told, complain);
        return;
      case "model.exported":
        this.#compare({ step: event.payload.step, sha256: event.payload.weightsSha256 }, complain);
        return;
      case "job.succeeded":
        this.#compare({ step: event.payload.steps, sha256: event.payload.weightsSha256 }, complain);
        return;
      default:
        return; // The rest carries no weights.
    }
  }

  #finish(step: number, sha256: string, told: Told, complain: Complain): void {
    if (told.step !== step || (told.steps !== undefined && told.steps !== step))
      complain("finish-wrong", `finished at step ${step} of ${told.steps}, ${told.step} are told`);
    this.#compare({ step, sha256 }, complain);
    this.#finished = { step, sha256 };
  }

  /** Call it after the last event. */
  close(complain: Complain): void {
    if (this.#finished === undefined) return;
    if (this.#final === undefined)
      complain("finish-wrong", "the job finished, but no final checkpoint was committed");
    else if (this.#final.step !== this.#finished.step)
      complain("finish-wrong", `the final checkpoint is of step ${this.#final.step}`);
    else if (this.#final.sha256 !== this.#finished.sha256)
      complain("hash-differs", "the job's final weights are not those of its final checkpoint");
  }

  /** @param told with the generation whose checkpoint it is; without one it must be what is known */
  #compare(
    told: { readonly step: number; readonly sha256: string; readonly generation?: number },
    complain: Complain,
  ): void {
    const { step, sha256, generation = 0 } = told;
    const known = this.#weights.get(step);
    const isNewer = known === undefined || (!this.#isExact && generation > known.generation);
    if (isNewer) this.#weights.set(step, { sha256, generation });
    else if (known.sha256 !== sha256)
      complain(
        "checkpoint-differs",
        `step ${step} has weights ${sha256.slice(0, 12)}, before they were ${known.sha256.slice(0, 12)}`,
      );
  }
}
