/** Parts that workers have told of and that no verdict covers yet: a projection of the log. */
import type { PayloadOf, StoredEvent } from "@coxswain/events";

export type Written = PayloadOf<"checkpoint.written">;

interface Told {
  readonly sequence: number;
  readonly part: Written;
}

interface Place {
  readonly step: number;
  readonly generation: number;
}

export class ToldParts {
  /** By job, then by step and generation. */
  readonly #jobs = new Map<string, Map<string, readonly Told[]>>();

  /** Call it for each event, in the log's order. */
  observe(event: StoredEvent): void {
    const places = this.#jobs.get(event.jobId) ?? new Map<string, readonly Told[]>();
    switch (event.name) {
      case "checkpoint.written": {
        const key = keyOf(event.payload);
        const told = { sequence: event.sequence, part: event.payload };
        places.set(key, [...(places.get(key) ?? []), told]);
        this.#jobs.set(event.jobId, places);
        return;
      }
      case "checkpoint.committed":
        // What an older or equal generation wrote of older steps will not be needed any more.
        for (const [key, told] of places) if (isUpTo(told, event.payload)) places.delete(key);
        return;
      case "checkpoint.rejected":
        // Whoever tries again tells of every part again.
        places.delete(keyOf(event.payload));
        return;
      case "job.succeeded":
      case "job.failed":
      case "job.cancelled":
        this.#jobs.delete(event.jobId);
        return;
      default:
        return; // The rest says nothing of parts.
    }
  }

  /** Every part told last of its checkpoint, with the event's sequence: what a restart looks at. */
  pending(): { readonly jobId: string; readonly sequence: number; readonly part: Written }[] {
    return [...this.#jobs].flatMap(([jobId, places]) =>
      [...places.values()].flatMap((told) => {
        const last = told.at(-1);
        return last === undefined ? [] : [{ jobId, ...last }];
      }),
    );
  }

  /** Where the parts of a job lie that no verdict covers yet. */
  pathsOf(jobId: string): readonly string[] {
    return [...(this.#jobs.get(jobId)?.values() ?? [])].flat().map(({ part }) => part.path);
  }

  /** Parts of one checkpoint told up to `sequence`, so that the same event always sees the same. */
  upTo(jobId: string, place: Place, sequence: number): readonly Written[] {
    const told = this.#jobs.get(jobId)?.get(keyOf(place)) ?? [];
    return told.filter((one) => one.sequence <= sequence).map(({ part }) => part);
  }
}

function keyOf({ step, generation }: Place): string {
  return `${step} ${generation}`;
}

function isUpTo(told: readonly Told[], committed: Place): boolean {
  const part = told[0]?.part;
  return (
    part === undefined || (part.step <= committed.step && part.generation <= committed.generation)
  );
}
