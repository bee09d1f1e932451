/** Workers' log lines: best effort, in a stream that forgets the oldest. */
import type { JetStreamClient } from "@nats-io/jetstream";
import type { LogLine } from "./bus.ts";
import { readStream } from "./read-stream.ts";
import { logStream, logSubject } from "./streams.ts";

const lineCharsMax = 8192;
/** Lines on their way to the server; more are dropped, since logs must not hold up training. */
const pendingMax = 1024;

export function buildAppendLog(
  client: JetStreamClient,
  isConnected: () => boolean,
): (line: LogLine) => void {
  let pending = 0;
  return (line) => {
    if (!isConnected() || pending >= pendingMax) return;
    pending += 1;
    const text = line.text.slice(0, lineCharsMax);
    client
      .publish(logSubject(line.jobId, line.workerId), JSON.stringify({ ...line, text }))
      .catch(() => undefined) // Best effort, as the port says.
      .finally(() => {
        pending -= 1;
      });
  };
}

export async function* followLogs(
  client: JetStreamClient,
  options: {
    readonly jobId: string;
    readonly workerId?: string;
    readonly follow: boolean;
    readonly signal: AbortSignal;
  },
): AsyncGenerator<LogLine> {
  const { jobId, workerId = "*", follow, signal } = options;
  const subject = logSubject(jobId, workerId);
  for await (const message of readStream(client, { stream: logStream, subject, follow, signal }))
    yield { ...message.json<LogLine>(), sequence: message.seq };
}
