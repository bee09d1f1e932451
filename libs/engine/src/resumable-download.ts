/** Brings a large file over HTTP: what a broken connection has left is gone on with, also next time. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { AppError } from "@coxswain/domain";

export interface DownloadOptions {
  readonly url: string;
  readonly sha256: string;
  /** Where it shall lie; `PATH.part` until it is whole. */
  readonly path: string;
  readonly onBytes: (bytes: number) => void;
  readonly signal: AbortSignal;
}

/** Connections in a row that bring nothing. */
const attemptsMax = 4;
const retryMs = 500;
/** @throws AppError `engine-unavailable` when the server refuses, or what came is something else */
export async function download(options: DownloadOptions): Promise<void> {
  const part = `${options.path}.part`;
  for (let attempt = 1; ; ) {
    const before = await sizeOf(part);
    const failure = await append(options, part, before).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (failure === undefined) break;
    if (failure instanceof AppError || options.signal.aborted) throw failure;
    attempt = (await sizeOf(part)) > before ? 1 : attempt + 1;
    if (attempt > attemptsMax) throw failure;
    await delay(retryMs * attempt, undefined, { signal: options.signal });
  }
  await requireHash(part, options.sha256);
  await rename(part, options.path);
}

async function append(
  { url, onBytes, signal }: DownloadOptions,
  part: string,
  from: number,
): Promise<void> {
  const headers = from > 0 ? { range: `bytes=${from}-` } : undefined;
  // A hundred modules, which each thread of a worker would load with this one.
  const { EnvHttpProxyAgent, fetch } = await import("undici");
  // HTTPS_PROXY, HTTP_PROXY and NO_PROXY, as pip reads them.
  const dispatcher = new EnvHttpProxyAgent();
  const response = await fetch(url, { dispatcher, signal, ...(headers && { headers }) });
  // The part is as long as the whole, or longer: its hash will tell.
  if (response.status === 416) return await response.body?.cancel();
  if (!response.ok || response.body === null) {
    const sentence = `${new URL(url).host} answers ${response.status}`;
    // Too busy, or broken: it may be well soon.
    if (response.status === 429 || response.status >= 500) throw new Error(sentence);
    throw new AppError("engine-unavailable", sentence);
  }
  const isResumed = response.status === 206;
  let bytes = isResumed ? from : 0;
  // Each chunk is in the file before the next one is asked for: nothing that came is lost.
  await using file = await open(part, isResumed ? "a" : "w");
  for await (const chunk of response.body) {
    await file.writeFile(chunk);
    bytes += chunk.length;
    onBytes(bytes);
  }
}

const sizeOf = (path: string) =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );

async function requireHash(path: string, expected: string): Promise<void> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  const actual = hash.digest("hex");
  if (actual === expected) return;
  await rm(path, { force: true });
  throw new AppError("engine-unavailable", `its SHA-256 is ${actual}, expected ${expected}`);
}
