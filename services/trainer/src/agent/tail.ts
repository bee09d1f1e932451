/** Passes on what a worker writes to its log file, line by line, until told to stop. */
import { type FileHandle, open } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

const intervalMs = 200;
const bytesMax = 64 * 1024;
/** A worker that writes more is not followed further; the file keeps everything. */
const totalBytesMax = 32 * 1024 * 1024;

export async function tail(
  path: string,
  options: { readonly signal: AbortSignal; readonly onLine: (line: string) => void },
): Promise<void> {
  let file: FileHandle | undefined;
  const buffer = Buffer.alloc(bytesMax);
  let position = 0;
  let rest = "";
  try {
    for (let isLast = false; ; ) {
      file ??= await open(path, "r").catch(() => undefined); // Not there yet.
      const read = (await file?.read(buffer, 0, bytesMax, position))?.bytesRead ?? 0;
      position += read;
      const lines = (rest + buffer.toString("utf8", 0, read)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line !== "") options.onLine(line);
      if (position > totalBytesMax || (isLast && read === 0)) return;
      isLast = options.signal.aborted;
      if (read < bytesMax && !isLast)
        await delay(intervalMs, undefined, { signal: options.signal }).catch(() => undefined);
    }
  } finally {
    await file?.close();
  }
}
