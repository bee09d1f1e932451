/** Records what each cycle saw and decided, so that it can be made again from the log. */
import { createHash } from "node:crypto";
import type { Bus } from "@coxswain/bus";
import { type Decision, type Look, recordsOf } from "@coxswain/scheduling";

export interface Recorder {
  /** Before the decisions are carried out. Says nothing when there is nothing new. */
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
  return {
    record: async (look, { nowMs, sequence, decisions }) => {
      if (told >= recordsPerWhole) before = undefined;
      const records = recordsOf(before, look, epoch);
      if (before === undefined) told = 0;
      for (const record of records) await bus.appendRecord(record);
      before = look;
      told += records.length;
      if (decisions.length === 0) return;
      const sha256 = createHash("sha256").update(JSON.stringify(decisions)).digest("hex");
      const count = decisions.length;
      await bus.appendRecord({ kind: "decided", epoch, nowMs, sequence, count, sha256 });
      told += 1;
    },
  };
}
