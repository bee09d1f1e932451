/** A worker without an agent passes on its own output, line by line, as agents do for theirs. */
import type { Bus, LogLine } from "@coxswain/bus";

/** A line is sent in pieces of this size. */
const lineCharsMax = 8192;
/** What is written beyond this stays with the container's own log. */
const totalCharsMax = 32 * 1024 * 1024;

type Output = Pick<NodeJS.WriteStream, "write">;

export function passOnOutput(
  bus: Pick<Bus, "appendLog">,
  of: Pick<LogLine, "jobId" | "workerId" | "stream">,
  output: Output,
  now: () => number,
): void {
  const write = output.write.bind(output) as (...args: unknown[]) => boolean;
  let rest = "";
  let total = 0;
  const take = (text: string) => {
    total += text.length;
    if (total > totalCharsMax) return;
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines)
      if (line !== "") bus.appendLog({ ...of, timeMs: now(), text: line.slice(0, lineCharsMax) });
    rest = rest.slice(-lineCharsMax);
  };
  output.write = ((chunk: string | Uint8Array, ...args: unknown[]) => {
    take(typeof chunk === "string" ? chunk : Buffer.from(chunk).toString("utf8"));
    return write(chunk, ...args);
  }) as typeof output.write;
}
