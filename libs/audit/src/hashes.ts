/** The hashes that a log tells: of checkpoints, of the end, of the exported model. */
import type { StoredEvent } from "@coxswain/events";
import type { ViolationKind } from "./report.ts";

type Complain = (kind: ViolationKind, message: string) => void;

export class Hashes {
  /** By step: the same step has the same bits, whoever computed it and however often. */
  readonly #weights = new Map<number, string>();
  /** Steps of which a checkpoint is committed. */
  readonly checkpointSteps = new Set<number>();
  #final: { readonly step: number; readonly sha256: string } | undefined;
  #finished: { readonly step: number; readonly sha256: string } | undefined;

  get finishedSha256(): string | undefined {
    return this.#finished?.sha256;
  }

  observe(
    event: StoredEvent,
    told: { readonly step: number; readonly steps: number | undefined },
    complain: Complain,
  ): void {
    switch (event.name) {
      case "checkpoint.committed": {
        const { step, weightsSha256, final } = event.payload;
        if (step > told.step)
          complain("checkpoint-ahead", `step ${step} was saved, only ${told.step} are told`);
        this.#compare(step, weightsSha256, complain);
        this.checkpointSteps.add(step);
        if (final) this.#final = { step, sha256: weightsSha256 };
        return;
      }
      case "checkpoint.pruned":
        for (const step of event.payload.steps) this.checkpointSteps.delete(step);
        return;
      case "training.finished":
        return this.#finish(event.payload.step, event.payload.weightsSha256, told, complain);
      case "model.exported":
        return this.#compare(event.payload.step, event.payload.weightsSha256, complain);
      case "job.succeeded":
        return this.#compare(event.payload.steps, event.payload.weightsSha256, complain);
      default:
        return; // The rest carries no weights.
    }
  }

  #finish(
    step: number,
    sha256: string,
    told: { readonly step: number; readonly steps: number | undefined },
    complain: Complain,
  ): void {
    if (told.step !== step || (told.steps !== undefined && told.steps !== step))
      complain("finish-wrong", `finished at step ${step} of ${told.steps}, ${told.step} are told`);
    this.#compare(step, sha256, complain);
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

  #compare(step: number, sha256: string, complain: Complain): void {
    const known = this.#weights.get(step);
    if (known !== undefined && known !== sha256)
      complain(
        "checkpoint-differs",
        `step ${step} has weights ${sha256.slice(0, 12)}, before they were ${known.slice(0, 12)}`,
      );
    this.#weights.set(step, known ?? sha256);
  }
}
