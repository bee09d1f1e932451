/**
 * Records what each cycle saw and decided, so that it can be made again from the log. The records are
 * also what fences a leader that was replaced and does not know it: each names the one before it, so
 * after the first record of its successor it cannot record anything, and nothing is carried out that
 * was not recorded.
 */
import { createHash } from "node:crypto";
import type { Bus } from "@coxswain/bus";
import { AppError } from "@coxswain/domain";
import { type Decision, type Look, recordsOf } from "@coxswain/scheduling";

export interface Recorder {
  /**
   * Before the decisions are carried out. Says nothing when there is nothing new.
   * @throws AppError `stale-epoch` when another leader has recorded something since
   */
  record(look: Look, cycle: RecordedCycle): Promise<void>;
}

export interface RecordedCycle {
  readonly nowMs: number;
  readonly sequence: number;
  readonly decisions: readonly Decision[];
}

/** After so many records the whole is told again: the stream forgets its oldest. */
const recordsPerWhole = 1000;

export function buildRecorder(bus: Bus, epoch: number): Recorder {
  let before: Look | undefined;
  let told = 0;
  let last: number | undefined;
  const append = async (record: object) => {
    last = await bus.appendRecord(record, { expectLastSequence: last }).catch((error: unknown) => {
      if (!(error instanceof AppError) || error.code !== "conflict") throw error;
      const sentence = `another leader than epoch ${epoch} records its decisions`;
      throw new AppError("stale-epoch", sentence, { cause: error });
    });
  };
  return {
    record: async (look, { nowMs, sequence, decisions }) => {
      if (told >= recordsPerWhole) before = undefined;
      const records = recordsOf(before, look, epoch);
      if (before === undefined) told = 0;
      for (const record of records) await append(record);
      before = look;
      told += records.length;
      if (decisions.length === 0) return;
      const sha256 = createHash("sha256").update(JSON.stringify(decisions)).digest("hex");
      const count = decisions.length;
      await append({ kind: "decided", epoch, nowMs, sequence, count, sha256 });
      told += 1;
    },
  };
}
