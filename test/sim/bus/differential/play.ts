/** Plays a sequence of operations on one side: what each of them gave. */
import type { KV } from "@nats-io/kv";
import type { Operation, Sequence } from "./operations.ts";
import { type Delivery, outcomeOf, type Side } from "./side.ts";

const soonMs = 20;
/** Long enough that nothing comes again before all came once, on a machine that is busy. */
const ackWaitMs = 400;
const pullsMax = 200;

interface Played {
  readonly side: Side;
  readonly windowMs: number;
  readonly isWindowShort: boolean;
  /** Delivered and not yet answered. */
  readonly held: Delivery[];
  /** Last known sequences and revisions. */
  readonly lasts: Map<string, number>;
  kv: KV | undefined;
}

export async function play(side: Side, sequence: Sequence, windowMs: number): Promise<unknown[]> {
  const { operations, last } = sequence;
  const isWindowShort = last?.kind === "window";
  const played: Played = {
    ...{ side, windowMs, isWindowShort, held: [], lasts: new Map(), kv: undefined },
  };
  const outcomes: unknown[] = [];
  for (const operation of last === undefined ? operations : [...operations, last])
    outcomes.push(await outcomeOf(() => act(played, operation)));
  return outcomes;
}

async function act(played: Played, operation: Operation): Promise<unknown> {
  const { side } = played;
  switch (operation.kind) {
    case "publish":
      return await publish(played, operation);
    case "last":
      return await side.last(operation.subject);
    case "next":
      return await side.next(operation.seq, operation.subject);
    case "read":
      return await side.read(operation.from, operation.subjects);
    case "pull":
      return await pull(played, operation.durable);
    case "ack":
    case "nak":
    case "term":
    case "working":
      return await answer(played, operation.kind, operation.which);
    case "pending":
      return await side.pending(operation.durable);
    case "purge":
      return await side.purge(operation.subject);
    case "remove":
      return await side.remove(operation.seq);
    case "nak-later":
      return await nakLater(played, operation.durable);
    case "silence":
      return await silence(played);
    case "window":
      return await outliveWindow(played);
    default:
      return await askBucket(played, operation);
  }
}

async function publish(
  { side, lasts, isWindowShort }: Played,
  { subject, id, expectOff, bytes }: Extract<Operation, { kind: "publish" }>,
): Promise<unknown> {
  const last = (await side.last(subject)) ?? 0;
  const answered = await side.publish(subject, "x".repeat(bytes), {
    // Where the window is short, a busy machine outlives it unasked.
    id: id === undefined || isWindowShort ? undefined : `id-${id}`,
    expect: expectOff === undefined ? undefined : Math.max(0, last + expectOff),
  });
  lasts.set(subject, answered.seq);
  return answered;
}

async function pull({ side, held }: Played, durable: string): Promise<unknown> {
  const delivery = await side.pull(durable);
  if (delivery === undefined) return undefined;
  held.push(delivery);
  return [delivery.seq, delivery.deliveries];
}

async function answer(
  { held }: Played,
  how: "ack" | "nak" | "term" | "working",
  which: number,
): Promise<unknown> {
  const delivery = held[which % Math.max(1, held.length)];
  if (delivery === undefined) return undefined;
  if (how !== "working") held.splice(held.indexOf(delivery), 1);
  if (how === "nak") await delivery.nak(0);
  else await delivery[how]();
  return delivery.seq;
}

/** Pulls everything until one comes again that was asked to come later; the order is open. */
async function nakLater(played: Played, durable: string): Promise<unknown> {
  const { side, held } = played;
  const delivery = await side.pull(durable);
  if (delivery === undefined) return undefined;
  const before = delivery.deliveries;
  await delivery.nak(soonMs);
  const seen: string[] = [];
  for (let pulls = 0; pulls < pullsMax; pulls += 1) {
    const next = await side.pull(durable);
    if (next === undefined) {
      await side.pass(soonMs);
      continue;
    }
    // Acked, so that what may be out at once holds nobody up.
    if (next.seq === delivery.seq) held.push(next);
    else await next.ack();
    seen.push(`${next.seq}#${next.deliveries}`);
    if (next.seq === delivery.seq && next.deliveries > before) {
      for (;;) {
        const rest = await side.pull(durable);
        if (rest === undefined) return seen.sort();
        await rest.ack();
        seen.push(`${rest.seq}#${rest.deliveries}`);
      }
    }
  }
  throw new Error(`message ${delivery.seq} does not come again`);
}

/** Everything is delivered, nobody answers, everything comes a second time. */
async function silence({ side }: Played): Promise<unknown> {
  await side.addDurable("silent", ackWaitMs);
  const [count] = await side.pending("silent");
  const seen = new Set<number>();
  for (let pulls = 0; pulls < pullsMax && seen.size < count; pulls += 1) {
    const next = await side.pull("silent");
    if (next === undefined) await side.pass(ackWaitMs / 4);
    else if (next.deliveries >= 2) {
      seen.add(next.seq);
      await next.ack();
    }
  }
  return [count, [...seen].sort((a, b) => a - b)];
}

/** The same id again and again, until the server has forgotten it. */
async function outliveWindow({ side, windowMs }: Played): Promise<unknown> {
  const first = await side.publish("a", "1", { id: "window" });
  for (let tries = 0; tries < pullsMax; tries += 1) {
    await side.pass(windowMs / 4);
    const again = await side.publish("a", "2", { id: "window" });
    if (!again.duplicate) return [first, again];
    if (again.seq !== first.seq) return ["another one's sequence", first, again];
  }
  throw new Error("the id is never forgotten");
}

type BucketOperation = Extract<Operation, { kind: `kv-${string}` }>;

async function askBucket(played: Played, operation: BucketOperation): Promise<unknown> {
  const { side, lasts } = played;
  played.kv ??= await side.bucket();
  const { kv } = played;
  const noted = (key: string, revision: number) => {
    lasts.set(`kv ${key}`, revision);
    return revision;
  };
  switch (operation.kind) {
    case "kv-create":
      return noted(operation.key, await kv.create(operation.key, `${operation.value}`));
    case "kv-put":
      return noted(operation.key, await kv.put(operation.key, `${operation.value}`));
    case "kv-update": {
      const { key, value, off } = operation;
      // The client refuses 0 by itself.
      const revision = Math.max(1, (lasts.get(`kv ${key}`) ?? 0) + off);
      return noted(key, await kv.update(key, `${value}`, revision));
    }
    case "kv-delete":
      return (await kv.delete(operation.key)) ?? "deleted";
    case "kv-get": {
      const entry = await kv.get(operation.key);
      return entry === null ? undefined : [entry.operation, entry.revision];
    }
    case "kv-keys": {
      const keys: string[] = [];
      for await (const key of await kv.keys()) keys.push(key);
      return keys.sort();
    }
  }
}
