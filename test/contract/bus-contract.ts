/** What the bus promises, whatever it stands on: nats-server as a process, in a container, or simulated. */
import { deepEqual, equal, notEqual, ok, rejects } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Bus, Followed } from "@coxswain/bus";
import { AppError, type ErrorCode, type JobId } from "@coxswain/domain";
import type { NewEvent, StoredEvent } from "@coxswain/events";

/** What is done to the server beside the bus. */
export interface BusAccess {
  connectBus(): Promise<Bus>;
  /** A message of somebody else, stored where a stream takes its subject. */
  publish(subject: string, text: string): Promise<void>;
  /** Listens from now on; the promise within gives the headers of so many messages. */
  collect(
    subject: string,
    count: number,
  ): Promise<() => Promise<readonly ReadonlyMap<string, string>[]>>;
  /** The log takes no more than this. */
  limitLog(maxBytes: number): Promise<void>;
}

/** A bus of a test's own, gone when the test ends. */
export interface ContractBus {
  readonly bus: Bus;
  readonly access: BusAccess;
  /** The server dies as in a crash. */
  readonly server: { kill(): Promise<void> };
  /** It is started again, at the same address and with what it had stored. */
  restart(): Promise<unknown>;
}

export const job = (id: string) => id as JobId;

export function lost(jobId: string, n: number, message = "killed"): NewEvent {
  return {
    name: "worker.lost",
    jobId: job(jobId),
    id: `${jobId}.lost.${n}`,
    source: "trainer",
    payload: { workerId: `w${n}`, nodeId: "n1", error: { code: "worker-failed", message } },
  };
}

function cancel(jobId: string, id: string): NewEvent {
  return {
    name: "job.cancel-requested",
    jobId: job(jobId),
    id,
    source: "job-api",
    payload: {},
  };
}

export const coded = (code: ErrorCode) => (error: unknown) =>
  error instanceof AppError && error.code === code;

export async function take(source: AsyncIterable<Followed>, count: number): Promise<StoredEvent[]> {
  const events: StoredEvent[] = [];
  for await (const item of source) {
    if (item.kind === "event") events.push(item.event);
    if (events.length >= count) break;
  }
  return events;
}

async function other(
  t: { after(run: () => Promise<void>): void },
  access: BusAccess,
): Promise<Bus> {
  const bus = await access.connectBus();
  t.after(() => bus.close());
  return bus;
}

export function holdBusContract(start: (t: TestContext) => Promise<ContractBus>): void {
  test("of two writers that saw the same log exactly one wins, round after round", async (t) => {
    const { bus, access } = await start(t);
    const writers = [bus, await other(t, access)];
    let last = 0;
    for (let round = 0; round < 50; round += 1) {
      const results = await Promise.allSettled(
        writers.map((writer, index) =>
          writer.append(cancel("race", `race.${round}.${index}`), { expectLastSequence: last }),
        ),
      );
      const won = results.filter((result) => result.status === "fulfilled");
      equal(won.length, 1);
      for (const result of results)
        if (result.status === "rejected") ok(coded("conflict")(result.reason), `${result.reason}`);
      last = won[0]?.value.sequence ?? 0;
      equal(await bus.lastJobSequence(job("race")), last);
    }
  });

  test("a fact said twice is stored once, also across a crash of the server", async (t) => {
    const { bus, server, restart } = await start(t);
    const first = await bus.append(lost("twice", 1));
    deepEqual(await bus.append(lost("twice", 1)), { sequence: first.sequence, duplicate: true });
    await server.kill();
    await restart();
    deepEqual(await bus.append(lost("twice", 1), { timeoutMs: 20_000 }), {
      sequence: first.sequence,
      duplicate: true,
    });
  });

  test("a compare-and-set that is sent again with its id is its own success", async (t) => {
    const { bus } = await start(t);
    const first = await bus.append(cancel("again", "again.1"), { expectLastSequence: 0 });
    await bus.append(cancel("again", "again.2"), { expectLastSequence: first.sequence });
    const again = await bus.append(cancel("again", "again.1"), { expectLastSequence: 0 });
    deepEqual(again, { sequence: first.sequence, duplicate: true });
  });

  test("appends beyond the window are refused, those within all arrive", async (t) => {
    const { bus } = await start(t);
    const results = await Promise.allSettled(
      Array.from({ length: 520 }, (_, n) => bus.append(lost("many", n))),
    );
    equal(results.filter(({ status }) => status === "fulfilled").length, 512);
    for (const result of results)
      if (result.status === "rejected") ok(coded("overloaded")(result.reason));
  });

  test("a follower sees each event once and in order while the server is killed", async (t) => {
    const { bus, server, restart } = await start(t);
    const stop = new AbortController();
    t.after(() => stop.abort());
    const following = take(bus.follow({ signal: stop.signal }), 60);
    for (let n = 0; n < 30; n += 1) await bus.append(lost("crash", n));
    await server.kill();
    await restart();
    for (let n = 30; n < 60; n += 1) await bus.append(lost("crash", n), { timeoutMs: 20_000 });
    const events = await following;
    deepEqual(
      events.map(({ id }) => id),
      Array.from({ length: 60 }, (_, n) => `crash.lost.${n}`),
    );
    deepEqual(
      events.map(({ sequence }) => sequence),
      Array.from({ length: 60 }, (_, n) => n + 1),
    );
  });

  test("an empty log has an end; filters keep other jobs and names away", async (t) => {
    const { bus } = await start(t);
    for await (const item of bus.follow()) {
      deepEqual(item, { kind: "caught-up", sequence: 0 });
      break;
    }
    await bus.append(lost("a", 1));
    await bus.append(lost("b", 1));
    await bus.append(cancel("a", "a.cancel"));
    const ofA = await take(bus.follow({ jobId: job("a") }), 2);
    deepEqual(
      ofA.map(({ id }) => id),
      ["a.lost.1", "a.cancel"],
    );
    const [only] = await take(bus.follow({ names: ["job.cancel-requested"] }), 1);
    equal(only?.id, "a.cancel");
  });

  test("foreign messages in the log are passed over", async (t) => {
    const { bus, access } = await start(t);
    await access.publish("evt.v1.worker.odd", "{]");
    await bus.append(lost("odd", 1));
    const [event] = await take(bus.follow(), 1);
    equal(event?.sequence, 2);
  });

  test("work comes again after a nak, and goes to the dead letters with its reason", async (t) => {
    const { bus, access } = await start(t);
    const buried = await access.collect("dead.v1.test-work", 2);
    for (let n = 0; n < 4; n += 1) await bus.append(lost("work", n));
    const stop = new AbortController();
    const seen: string[] = [];
    const consuming = bus.consume(
      { durable: "test-work", names: ["worker.lost"], signal: stop.signal, deliveriesMax: 3 },
      async (event, deliveries) => {
        seen.push(`${event.id}#${deliveries}`);
        if (event.id.endsWith(".1") && deliveries === 1)
          return { kind: "nak", delayMs: 1, reason: "not yet" };
        if (event.id.endsWith(".2")) throw new AppError("invalid-spec", "never");
        if (event.id.endsWith(".3")) return { kind: "nak", delayMs: 1, reason: "still not" };
        return { kind: "ack" };
      },
    );
    const letters = (await buried()).map((headers) => headers.get("coxswain-reason"));
    stop.abort();
    await consuming;
    ok(seen.includes("work.lost.1#2"));
    equal(seen.filter((id) => id.startsWith("work.lost.2#")).length, 1);
    equal(seen.filter((id) => id.startsWith("work.lost.3#")).length, 3);
    deepEqual(letters.sort(), ["3 deliveries: still not", "[invalid-spec] never"]);
  });

  test("a bucket refuses a stale revision and a second create", async (t) => {
    const { bus } = await start(t);
    const bucket = bus.bucket("secrets");
    const revision = await bucket.create("j1", { secret: "a" });
    await rejects(bucket.create("j1", { secret: "b" }), coded("conflict"));
    await bucket.update("j1", { secret: "c" }, revision);
    await rejects(bucket.update("j1", { secret: "d" }, revision), coded("conflict"));
    deepEqual((await bucket.get("j1"))?.value, { secret: "c" });
    await bucket.delete("j1");
    equal(await bucket.get("j1"), undefined);
    deepEqual(await bucket.entries(), []);
  });

  test("a watch goes on after the server was killed", async (t) => {
    const { bus, server, restart } = await start(t);
    const bucket = bus.bucket("secrets");
    await bucket.put("k", { secret: "1" });
    const stop = new AbortController();
    t.after(() => stop.abort());
    const watch = bucket.watch({ signal: stop.signal })[Symbol.asyncIterator]();
    equal((await watch.next()).value.value.secret, "1");
    await server.kill();
    await restart();
    const change = watch.next();
    let written = false;
    while (!written)
      written = await bucket.put("k", { secret: "2" }).then(
        () => true,
        () => false,
      );
    equal((await change).value.value.secret, "2");
  });

  test("a lease has one holder, and the next one a higher epoch", async (t) => {
    const { bus, access } = await start(t);
    const second = await other(t, access);
    const stop = new AbortController();
    t.after(() => stop.abort());
    const options = { ttlMs: 1500, signal: stop.signal };
    const first = await bus.acquireLease("role", options);
    let isTaken = false;
    const waiting = second.acquireLease("role", options).then((lease) => {
      isTaken = true;
      return lease;
    });
    await bus.bucket("leases").get("role");
    equal(isTaken, false);
    await first.release();
    const next = await waiting;
    ok(next.epoch > first.epoch);
    await next.release();
  });

  test("a holder that is cut off lays the role down before another takes it", async (t) => {
    const { bus, access } = await start(t);
    const stop = new AbortController();
    t.after(() => stop.abort());
    const doomed = await access.connectBus();
    const first = await doomed.acquireLease("role", { ttlMs: 1500, signal: stop.signal });
    await doomed.close();
    const next = await bus.acquireLease("role", { ttlMs: 1500, signal: stop.signal });
    equal(first.lost.aborted, true);
    ok(next.epoch > first.epoch);
    await next.release();
  });

  test("a full log refuses and forgets nothing", async (t) => {
    const { bus, access } = await start(t);
    await access.limitLog(8192);
    let stored = 0;
    await rejects(async () => {
      for (;;) {
        await bus.append(lost("full", stored, "x".repeat(500)));
        stored += 1;
      }
    }, coded("bus-full"));
    equal((await take(bus.follow(), stored)).length, stored);
  });

  test("an event that is too large is refused before it is sent", async (t) => {
    const { bus } = await start(t);
    const metrics = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`m${n}`, n]));
    await rejects(
      bus.append({
        name: "training.epoch-finished",
        jobId: job("large"),
        id: "large.1",
        source: "trainer",
        payload: { generation: 1, epoch: 1, step: 1, metrics },
      }),
      coded("message-too-large"),
    );
  });

  test("a bundle comes back as it went in; an unknown one is absent", async (t) => {
    const { bus } = await start(t);
    const bytes = new Uint8Array(300_000).map((_, index) => index);
    await bus.putBundle("a".repeat(64), bytes);
    await bus.putBundle("a".repeat(64), bytes);
    deepEqual(await bus.getBundle("a".repeat(64)), bytes);
    equal(await bus.getBundle("b".repeat(64)), undefined);
  });

  test("log lines are read back in order, and by worker", async (t) => {
    const { bus, access } = await start(t);
    const signal = new AbortController().signal;
    const arrived = await access.collect("log.v1.>", 4);
    for (let n = 0; n < 4; n += 1)
      bus.appendLog({
        jobId: "j",
        workerId: `w${n % 2}`,
        stream: "stdout",
        timeMs: n,
        text: `line ${n}`,
      });
    await arrived();
    await bus.lastJobSequence(job("j"));
    const texts = async (workerId?: string) => {
      const lines: string[] = [];
      const options = { jobId: "j", follow: false, signal, ...(workerId ? { workerId } : {}) };
      for await (const line of bus.followLogs(options)) lines.push(line.text);
      return lines;
    };
    deepEqual(await texts(), ["line 0", "line 1", "line 2", "line 3"]);
    deepEqual(await texts("w1"), ["line 1", "line 3"]);
  });

  test("connecting again finds the streams as they are", async (t) => {
    const { bus, access } = await start(t);
    const { sequence } = await bus.append(lost("stay", 1));
    const again = await other(t, access);
    notEqual(sequence, 0);
    equal((await take(again.follow(), 1))[0]?.id, "stay.lost.1");
  });
}
