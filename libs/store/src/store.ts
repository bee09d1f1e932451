/**
 * Where checkpoints and exported models lie. Paths are relative, with `/`, of segments that match
 * `[A-Za-z0-9_-][A-Za-z0-9._-]*`, at most 128 characters each. Every call throws AppError
 * `invalid-path` for another path, or one that a symbolic link leads out of the store.
 */
export interface Store {
  /** Writes a whole file atomically and synced: afterwards it is there in full, or not at all. @throws AppError `store-full`, `store-failed` */
  write(
    path: string,
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<{ readonly bytes: number; readonly sha256: string }>;
  /** @throws AppError `checkpoint-not-found` */
  read(path: string): Promise<Uint8Array>;
  /** Bytes `offset <= i < offset + length`, fewer where the file ends before. @throws AppError `checkpoint-not-found` */
  range(path: string, offset: number, length: number): Promise<Uint8Array>;
  /** Reads in pieces of at most 1 MiB. */
  stream(path: string): AsyncIterable<Uint8Array>;
  /** Files under a folder, with sizes, sorted by path; empty when the folder is missing. */
  list(folder: string): Promise<readonly { readonly path: string; readonly bytes: number }[]>;
  /** Removes a file or folder with all under it; nothing happens when it is missing. */
  remove(path: string): Promise<void>;
}

/** What reading a checkpoint needs. */
export type ReadableStore = Pick<Store, "read" | "stream">;

/** What the owner of the store can do as well. */
export interface OwnedStore extends Store {
  /** Removes what killed writers left behind, once it is at least so old. Returns how many files. */
  sweep(options: { readonly nowMs: number; readonly ageMsMin: number }): Promise<number>;
}

const partPattern = /\/\d{10,}\/g\d+-\d+-of-\d+\.bin$/;
const hashCharsInName = 16;

/**
 * Where the manifest of a checkpoint lies. Its hash is part of its name: a later generation that
 * comes to the same step must not write over what is named already.
 */
export const manifestOf = ({ path, sha256 }: { readonly path: string; readonly sha256: string }) =>
  `${path}/manifest-${sha256.slice(0, hashCharsInName)}.json`;

/** Where things lie in a store. */
export const storePaths = {
  checkpoints: (jobId: string) => `jobs/${jobId}/checkpoints`,
  checkpoint: (jobId: string, step: number) =>
    `${storePaths.checkpoints(jobId)}/${String(step).padStart(10, "0")}`,
  part: (jobId: string, step: number, generation: number, part: number, parts: number) =>
    `${storePaths.checkpoint(jobId, step)}/g${generation}-${part}-of-${parts}.bin`,
  /** Whether a part of some checkpoint of the job may lie there. */
  isPart: (jobId: string, path: string) =>
    path.startsWith(`${storePaths.checkpoints(jobId)}/`) && partPattern.test(path),
  manifest: (jobId: string, step: number, sha256: string) =>
    manifestOf({ path: storePaths.checkpoint(jobId, step), sha256 }),
  model: (jobId: string) => `jobs/${jobId}/model`,
} as const;
