/**
 * Every stream, declared once, created by whoever comes first.
 *
 * What protects data: file storage, `discard: new` on the log (a full log refuses, it never
 * forgets), limits on everything, and `sync_interval: always` in the server's configuration.
 */
import { setTimeout as delay } from "node:timers/promises";
import { eventBytesMax, eventSubjects } from "@coxswain/events";
import {
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";

const mebibyte = 1024 * 1024;
const nanosPerSecond = 1_000_000_000;

export const eventStream = "EVENTS";
export const logStream = "WORKER_LOGS";
export const decisionStream = "DECISIONS";
export const decisionSubject = "dec.v1.scheduler";
export const deadLetterStream = "DEAD_LETTERS";
export const logSubject = (jobId: string, workerId: string) => `log.v1.${jobId}.${workerId}`;
export const deadLetterSubject = (durable: string) => `dead.v1.${durable}`;

/** nats-server below 2.10 loses compare-and-sets when replicated and lacks `sync_interval`. */
export const serverVersionMin = [2, 10, 0] as const;

type Declared = Partial<StreamConfig> & { readonly name: string };

export function declaredStreams(replicas: number): Declared[] {
  const common = {
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    num_replicas: replicas,
  };
  return [
    {
      ...common,
      name: eventStream,
      subjects: [eventSubjects],
      discard: DiscardPolicy.New,
      max_bytes: 2048 * mebibyte,
      // Headers count too.
      max_msg_size: eventBytesMax + 4096,
      duplicate_window: 600 * nanosPerSecond,
      allow_direct: true,
    },
    {
      ...common,
      name: logStream,
      subjects: ["log.v1.>"],
      discard: DiscardPolicy.Old,
      max_bytes: 256 * mebibyte,
      max_msgs_per_subject: 20_000,
      max_msg_size: 65_536,
    },
    {
      ...common,
      name: decisionStream,
      subjects: ["dec.v1.>"],
      discard: DiscardPolicy.Old,
      max_bytes: 64 * mebibyte,
      max_msg_size: 262_144,
    },
    {
      ...common,
      name: deadLetterStream,
      subjects: ["dead.v1.>"],
      discard: DiscardPolicy.Old,
      max_bytes: 64 * mebibyte,
    },
  ];
}

const streamNotFound = 10059;

/** Creates what is missing. What exists stays as its operator set it. */
export async function createStreams(manager: JetStreamManager, replicas: number): Promise<void> {
  await Promise.all(declaredStreams(replicas).map((declared) => createStream(manager, declared)));
}

const attemptsMax = 10;
const retryDelayMs = 50;

/**
 * Several services create the same streams at once: who comes second finds the name in use, or,
 * while the first is still at it, the storage counted twice. Both pass.
 */
async function createStream(manager: JetStreamManager, declared: Declared): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    if (await isThere(manager, declared.name)) return;
    try {
      await manager.streams.add(declared);
      return;
    } catch (error) {
      if (!(error instanceof JetStreamApiError) || attempt >= attemptsMax) throw error;
      await delay(retryDelayMs * attempt);
    }
  }
}

async function isThere(manager: JetStreamManager, name: string): Promise<boolean> {
  try {
    await manager.streams.info(name);
    return true;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === streamNotFound) return false;
    throw error;
  }
}
