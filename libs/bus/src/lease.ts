/**
 * A role held by one process at a time, with a fencing epoch.
 *
 * The key's value names the holder. Others may take over once they have seen the same revision for
 * a whole TTL by their own monotonic clock; the holder renews every third of it, and lays the role
 * down before others may take it, by its own clock, whatever the server last answered. Only a
 * compare-and-set that succeeded makes a holder: a read may be stale. The epoch is the revision of
 * that compare-and-set, so it grows with each holder.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { LeaseRecord } from "./buckets.ts";
import type { Bucket, Lease } from "./bus.ts";

interface LeaseOptions {
  readonly ttlMs: number;
  readonly signal: AbortSignal;
}

interface Held {
  readonly revision: number;
  /** When the winning write was sent, monotonic: the lease counts from here. */
  readonly sentMs: number;
}

export async function acquireLease(
  bucket: Bucket<LeaseRecord>,
  role: string,
  options: LeaseOptions,
): Promise<Lease> {
  const holder = randomUUID();
  const attempt = buildAttempt(bucket, role, holder, options.ttlMs);
  for (;;) {
    options.signal.throwIfAborted();
    const held = await attempt();
    if (held !== undefined) return keep(bucket, role, holder, held, options);
    await delay(Math.min(200, options.ttlMs / 6), undefined, { signal: options.signal });
  }
}

/** One look at the role, and a try to take it when it is free; remembers since when it looks so. */
function buildAttempt(bucket: Bucket<LeaseRecord>, role: string, holder: string, ttlMs: number) {
  let observed = { revision: -1, sinceMs: performance.now() };
  return async (): Promise<Held | undefined> => {
    const entry = await bucket.get(role).catch(() => "away" as const); // The server is away: wait.
    if (entry === "away") return undefined;
    if (entry === undefined) return tryWrite(() => bucket.create(role, record(holder, 0)));
    const { revision, value } = entry;
    if (revision !== observed.revision) observed = { revision, sinceMs: performance.now() };
    const isFree = value.holder === "" || performance.now() - observed.sinceMs > ttlMs;
    if (!isFree) return undefined;
    return tryWrite(() => bucket.update(role, record(holder, revision), revision));
  };
}

async function tryWrite(write: () => Promise<number>): Promise<Held | undefined> {
  const sentMs = performance.now();
  try {
    return { revision: await write(), sentMs };
  } catch {
    return undefined; // Lost the race, or unknown: only a success counts.
  }
}

function record(holder: string, epoch: number): LeaseRecord {
  return { holder, epoch, expiresAtMs: 0 };
}

function keep(
  bucket: Bucket<LeaseRecord>,
  role: string,
  holder: string,
  first: Held,
  options: LeaseOptions,
): Lease {
  const lost = new AbortController();
  const done = new AbortController();
  let held = first;
  // A timer of its own ends the role in time, whatever a renewal is waiting for. The margin keeps
  // this holder's end before the others' beginning.
  let deadline: NodeJS.Timeout | undefined;
  const extend = () => {
    clearTimeout(deadline);
    const leftMs = held.sentMs + options.ttlMs * 0.75 - performance.now();
    deadline = setTimeout(
      () => lost.abort(new Error(`lease "${role}" ran out`)),
      Math.max(0, leftMs),
    ).unref();
  };
  extend();
  const renew = () =>
    Promise.race([
      tryWrite(() => bucket.update(role, record(holder, first.revision), held.revision)),
      delay(options.ttlMs / 4, undefined, { ref: false }),
    ]);
  const isOver = () => done.signal.aborted || lost.signal.aborted;
  const renewing = (async () => {
    while (!isOver()) {
      await delay(options.ttlMs / 3, undefined, { signal: done.signal }).catch(() => undefined);
      if (isOver()) return;
      const renewed = await renew();
      if (renewed === undefined) continue;
      held = renewed;
      if (!isOver()) extend();
    }
  })();
  return {
    epoch: first.revision,
    lost: lost.signal,
    release: async () => {
      done.abort();
      await renewing;
      clearTimeout(deadline);
      if (!lost.signal.aborted)
        await tryWrite(() => bucket.update(role, record("", first.revision), held.revision));
    },
  };
}
