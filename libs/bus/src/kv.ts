/** Buckets: JSON values under keys, compare-and-set by revision, reads through the stream's leader. */
import { JetStreamApiError } from "@nats-io/jetstream";
import type { KV, Kvm } from "@nats-io/kv";
import type { BucketName, BucketValue } from "./buckets.ts";
import type { Bucket, Entry } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { busError } from "./errors.ts";
import { unlessReconnected } from "./reconnect.ts";

const retryDelayMs = 250;
const valueBytesMax = 256 * 1024;
const bucketBytesMax = 64 * 1024 * 1024;

export interface KvPorts {
  readonly kvm: Kvm;
  readonly clock: Clock;
  readonly replicas: number;
  readonly onReconnect: (listener: () => void) => () => void;
}

export function buildBucket<Name extends BucketName>(
  ports: KvPorts,
  name: Name,
): Bucket<BucketValue<Name>> {
  type Value = BucketValue<Name>;
  let opening: Promise<KV> | undefined;
  const open = (): Promise<KV> => {
    opening ??= createBucket(ports, name).catch((error: unknown) => {
      opening = undefined; // The next call tries again.
      throw error;
    });
    return opening;
  };
  const attempt = async <Result>(
    what: string,
    act: (kv: KV) => Promise<Result>,
  ): Promise<Result> => {
    try {
      return await act(await open());
    } catch (error) {
      throw busError(error, `bucket ${name}, ${what}`);
    }
  };

  return {
    get: (key) =>
      attempt(`get ${key}`, async (kv) => {
        const entry = await kv.get(key);
        if (entry === null || entry.operation !== "PUT") return undefined;
        return { key, value: entry.json<Value>(), revision: entry.revision };
      }),
    create: (key, value) => attempt(`create ${key}`, (kv) => kv.create(key, JSON.stringify(value))),
    update: (key, value, revision) =>
      attempt(`update ${key}`, (kv) => kv.update(key, JSON.stringify(value), revision)),
    put: (key, value) => attempt(`put ${key}`, (kv) => kv.put(key, JSON.stringify(value))),
    delete: (key) => attempt(`delete ${key}`, (kv) => kv.delete(key)),
    entries: () =>
      attempt("entries", (kv) => unlessReconnected(ports.onReconnect, entriesOf<Value>(kv))),
    watch: (options) => watch<Value>(ports, open, options),
  };
}

async function entriesOf<Value>(kv: KV): Promise<Entry<Value>[]> {
  const entries: Entry<Value>[] = [];
  for await (const key of await kv.keys()) {
    const entry = await kv.get(key);
    if (entry?.operation === "PUT")
      entries.push({ key, value: entry.json<Value>(), revision: entry.revision });
  }
  return entries;
}

const attemptsMax = 10;

/** Services that make the same bucket at once may get in each other's way; the later try finds it. */
async function createBucket(ports: KvPorts, name: string): Promise<KV> {
  const options = {
    history: 1,
    replicas: ports.replicas,
    maxValueSize: valueBytesMax,
    max_bytes: bucketBytesMax,
    allow_direct: false,
  };
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ports.kvm.create(name, options);
    } catch (error) {
      if (!(error instanceof JetStreamApiError) || attempt >= attemptsMax) throw error;
      await ports.clock.delay(50 * attempt);
    }
  }
}

/** After each reconnect the watch starts again; what was seen already is dropped by its revision. */
async function* watch<Value>(
  ports: KvPorts,
  open: () => Promise<KV>,
  options: { readonly key?: string; readonly signal: AbortSignal },
): AsyncGenerator<{
  readonly key: string;
  readonly value: Value | undefined;
  readonly revision: number;
}> {
  const seen = new Map<string, number>();
  while (!options.signal.aborted) {
    const entries = await open()
      .then((kv) => kv.watch(options.key === undefined ? {} : { key: options.key }))
      .catch(() => undefined); // The server is away: try again.
    if (entries === undefined) {
      await ports.clock.delay(retryDelayMs, options.signal);
      continue;
    }
    const stop = () => entries.stop();
    const stopListening = ports.onReconnect(stop);
    options.signal.addEventListener("abort", stop, { once: true });
    if (options.signal.aborted) stop(); // Before there was a listener.
    try {
      for await (const entry of entries) {
        const { key, operation, revision } = entry;
        if (revision <= (seen.get(key) ?? 0)) continue;
        seen.set(key, revision);
        const value = operation === "PUT" ? entry.json<Value>() : undefined;
        yield { key, value, revision };
      }
    } finally {
      stopListening();
      options.signal.removeEventListener("abort", stop);
      entries.stop();
    }
  }
}
