/** TensorFlow's library takes as long to load as all modules of a worker: both at once. */
import { Worker } from "node:worker_threads";

/** What the thread is given. */
export interface EarlyEngine {
  readonly identity: string;
  readonly cacheDir: string;
}

let thread: Worker | undefined;

/** Whoever needs the library waits for this thread, and says what went wrong if it did. */
export function loadEarly({
  COXSWAIN_ENGINE: name,
  COXSWAIN_ENGINE_IDENTITY: identity,
  COXSWAIN_CACHE_DIR: cacheDir,
}: Readonly<Record<string, string | undefined>>): void {
  if (name !== "native" || identity === undefined || cacheDir === undefined) return;
  const workerData: EarlyEngine = { identity, cacheDir };
  thread = new Worker(new URL("./early-engine-thread.ts", import.meta.url), { workerData });
  thread.on("error", () => undefined);
  thread.unref();
}

/** Others have the library by now, and what was only needed for the start can be given back. */
export function endEarly(): void {
  thread?.postMessage("end");
  thread = undefined;
}
