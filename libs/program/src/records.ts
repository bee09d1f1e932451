import type { StreamedDataset } from "./dataset.ts";

/**
 * A dataset in record files, which may be larger than memory: what `cox dataset-pack` writes.
 *
 * @param source an absolute path, file:///FOLDER, or s3://BUCKET/PREFIX
 * @throws AppError `dataset-invalid`; reading a sample throws `record-damaged` with the place
 */
export async function records(source: string): Promise<StreamedDataset> {
  // Loaded by those who read records only: its checksums are a native library.
  const { openDataset } = await import("@coxswain/dataset");
  const { inputShape, labelShape, train, test } = await openDataset(source);
  return { inputShape, labelShape, train, test };
}
