/** Workers' log lines: best effort, in a stream that forgets the oldest. */
import type { JetStreamClient, JetStreamManager } from "@nats-io/jetstream";
import { DeliverPolicy } from "@nats-io/jetstream";
import type { LogLine } from "./bus.ts";
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
  ports: { readonly client: JetStreamClient; readonly manager: JetStreamManager },
  options: {
    readonly jobId: string;
    readonly workerId?: string;
    readonly follow: boolean;
    readonly signal: AbortSignal;
  },
): AsyncGenerator<LogLine> {
  const subject = logSubject(options.jobId, options.workerId ?? "*");
  const consumer = await ports.client.consumers.get(logStream, {
    filter_subjects: subject,
    deliver_policy: DeliverPolicy.All,
  });
  const info = await consumer.info();
  if (!options.follow && info.num_pending === 0) return;
  const messages = await consumer.consume({ max_messages: 256 });
  const stop = () => messages.stop();
  options.signal.addEventListener("abort", stop, { once: true });
  if (options.signal.aborted) stop(); // Before there was a listener.
  try {
    for await (const message of messages) {
      yield { ...message.json<LogLine>(), sequence: message.seq };
      if (!options.follow && message.info.pending === 0) return;
    }
  } finally {
    options.signal.removeEventListener("abort", stop);
    messages.stop();
  }
}
