export {
  type CheckpointFacts,
  type CheckpointPart,
  type CheckpointSegment,
  type Damage,
  inspectCheckpoint,
  isDamage,
  latestWholeCheckpoint,
  type Manifest,
  type PartsList,
  partRange,
  readCheckpoint,
  readManifest,
  readParameters,
  sha256Of,
  stateFloats,
  verifyParts,
} from "./checkpoint.ts";
export { type FolderPorts, openFolderStore } from "./folder-store.ts";
export { openStore } from "./open-store.ts";
export {
  manifestOf,
  type OwnedStore,
  type ReadableStore,
  type Store,
  storePaths,
} from "./store.ts";
