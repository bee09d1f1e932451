export {
  type CheckpointFacts,
  type CheckpointPart,
  latestWholeCheckpoint,
  type Manifest,
  partRange,
  readCheckpoint,
  readParts,
  sha256Of,
  stateFloats,
} from "./checkpoint.ts";
export { openFolderStore } from "./folder-store.ts";
export { openStore } from "./open-store.ts";
export { type Store, storePaths } from "./store.ts";
