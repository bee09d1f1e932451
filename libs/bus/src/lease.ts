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
import type { LeaseRecord } from "./buckets.ts";
import type { Bucket, Lease } from "./bus.ts";
import { type Clock, within } from "./clock.ts";

interface LeaseOptions {
  readonly ttlMs: number;
  readonly signal: AbortSignal;
}

interface Held {
  readonly revision: number;
  /** When the winning write was sent, monotonic: the lease counts from here. */
  readonly sentMs: number;
}

export interface LeasePorts {
  readonly bucket: Bucket<LeaseRecord>;
  readonly clock: Clock;
}

export async function acquireLease(
  ports: LeasePorts,
  role: string,
  options: LeaseOptions,
): Promise<Lease> {
  const holder = randomUUID();
  const attempt = buildAttempt(ports, role, holder, options.ttlMs);
  for (;;) {
    options.signal.throwIfAborted();
    const held = await attempt();
    if (held !== undefined) return keep(ports, role, holder, held, options);
    await ports.clock.delay(Math.min(200, options.ttlMs / 6), options.signal);
  }
}

/** One look at the role, and a try to take it when it is free; remembers since when it looks so. */
function buildAttempt({ bucket, clock }: LeasePorts, role: string, holder: string, ttlMs: number) {
  const tryWrite = buildTryWrite(clock);
  let observed = { revision: -1, sinceMs: clock.nowMs() };
  return async (): Promise<Held | undefined> => {
    const entry = await bucket.get(role).catch(() => "away" as const); // The server is away: wait.
    if (entry === "away") return undefined;
    if (entry === undefined) return tryWrite(() => bucket.create(role, record(holder, 0)));
    const { revision, value } = entry;
    if (revision !== observed.revision) observed = { revision, sinceMs: clock.nowMs() };
    const isFree = value.holder === "" || clock.nowMs() - observed.sinceMs > ttlMs;
    if (!isFree) return undefined;
    return tryWrite(() => bucket.update(role, record(holder, revision), revision));
  };
}

function buildTryWrite(clock: Clock) {
  return async (write: () => Promise<number>): Promise<Held | undefined> => {
    const sentMs = clock.nowMs();
    try {
      return { revision: await write(), sentMs };
    } catch {
      return undefined; // Lost the race, or unknown: only a success counts.
    }
  };
}

function record(holder: string, epoch: number): LeaseRecord {
  return { holder, epoch, expiresAtMs: 0 };
}

function keep(
  { bucket, clock }: LeasePorts,
  role: string,
  holder: string,
  first: Held,
  options: LeaseOptions,
): Lease {
  const tryWrite = buildTryWrite(clock);
  const lost = new AbortController();
  const done = new AbortController();
  let held = first;
  // A timer of its own ends the role in time, whatever a renewal is waiting for. The margin keeps
  // this holder's end before the others' beginning.
  let deadline = new AbortController();
  const extend = () => {
    deadline.abort();
    deadline = new AbortController();
    const { signal } = deadline;
    const leftMs = held.sentMs + options.ttlMs * 0.75 - clock.nowMs();
    void clock.delay(Math.max(0, leftMs), signal).then(() => {
      if (!signal.aborted) lost.abort(new Error(`lease "${role}" ran out`));
    });
  };
  extend();
  const renew = async (): Promise<Held | undefined> => {
    const written = tryWrite(() =>
      bucket.update(role, record(holder, first.revision), held.revision),
    );
    return (await within(clock, written, options.ttlMs / 4)) ? await written : undefined;
  };
  const isOver = () => done.signal.aborted || lost.signal.aborted;
  const renewing = (async () => {
    while (!isOver()) {
      await clock.delay(options.ttlMs / 3, done.signal);
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
      deadline.abort();
      if (!lost.signal.aborted)
        await tryWrite(() => bucket.update(role, record("", first.revision), held.revision));
    },
  };
}
