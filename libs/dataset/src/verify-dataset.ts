/** Reads every record of a dataset and names those that are damaged. */
import { AppError } from "@coxswain/domain";
import type { openDataset } from "./open-dataset.ts";

export interface DamagedRecord {
  readonly split: "train" | "test";
  readonly sentence: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export interface DatasetReport {
  readonly records: number;
  readonly damaged: readonly DamagedRecord[];
}

/** So many damaged records are named; more are counted by reading on after mending. */
const namedMax = 1000;

export async function verifyDataset(
  dataset: Awaited<ReturnType<typeof openDataset>>,
): Promise<DatasetReport> {
  const damaged: DamagedRecord[] = [];
  let records = 0;
  for (const split of ["train", "test"] as const) {
    const { samples } = dataset[split];
    for (let index = 0; index < samples && damaged.length < namedMax; index += 1) {
      records += 1;
      try {
        await dataset[split].read([index]);
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== "record-damaged") throw error;
        damaged.push({ split, sentence: error.sentence, details: error.details });
      }
    }
  }
  return { records, damaged };
}
