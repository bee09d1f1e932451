export type { DatasetManifest, Feature, Shard, SplitName } from "./manifest.ts";
export { openDataset, type RecordPlace, RecordSplit } from "./open-dataset.ts";
export { type DamagedRecord, type DatasetReport, verifyDataset } from "./verify-dataset.ts";
export { type DatasetSource, type Sample, writeDataset } from "./write-dataset.ts";
