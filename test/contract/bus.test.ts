/** What the bus promises, held against a real nats-server. */
import { deepEqual, fail, rejects } from "node:assert/strict";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { connectBus } from "@coxswain/bus";
import { startNatsServer } from "@coxswain/embedded";
import { startTestBus } from "@coxswain/embedded/testing";
import { coded, holdBusContract, job, lost } from "./bus-contract.ts";
import { accessTo, removeDurable } from "./nats-access.ts";

holdBusContract(async (t) => {
  const started = await startTestBus(t);
  return { ...started, access: accessTo(started.url) };
});

test("a reader whose place was removed reads the log again from its beginning", async (t) => {
  const { bus, url } = await startTestBus(t);
  const stop = new AbortController();
  t.after(() => stop.abort());
  const twice = Promise.withResolvers<void>();
  const seen: string[] = [];
  const consuming = bus.consume(
    { durable: "test-place", names: ["worker.lost"], signal: stop.signal },
    async ({ id }) => {
      seen.push(id);
      if (seen.length === 1) await removeDurable(url, "test-place");
      if (seen.length === 2) twice.resolve();
      return { kind: "ack" };
    },
  );
  await bus.append(lost("place", 1));
  await twice.promise;
  stop.abort();
  await consuming;
  deepEqual(seen, ["place.lost.1", "place.lost.1"]);
});

test("a reader whose place the server has lost on its disk gets a new one", async (t) => {
  const { bus, dataDir } = await startTestBus(t);
  const read = async (id: string) => {
    const stop = new AbortController();
    t.after(() => stop.abort());
    await bus.consume(
      { durable: "test-disk", names: ["worker.lost"], signal: stop.signal },
      async (event) => {
        if (event.id === id) stop.abort();
        return { kind: "ack" };
      },
    );
  };
  await bus.append(lost("disk", 1));
  await read("disk.lost.1");
  const stored = join(dataDir, "jetstream/jetstream/$G/streams/EVENTS/obs/test-disk");
  await rm(stored, { recursive: true });
  await bus.append(lost("disk", 2));
  await read("disk.lost.2");
});

test("who has read leaves nothing of itself on the server", async (t) => {
  const { bus, url } = await startTestBus(t);
  const deletions = (stream: string) =>
    accessTo(url).collect(`$JS.EVENT.ADVISORY.CONSUMER.DELETED.${stream}.*`, 1);
  const ofLog = await deletions("EVENTS");
  for await (const item of bus.follow()) if (item.kind === "caught-up") break;
  await ofLog();

  const ofLines = await deletions("WORKER_LOGS");
  const signal = new AbortController().signal;
  for await (const line of bus.followLogs({ jobId: job("silent"), follow: false, signal }))
    fail(`a line: ${line.text}`);
  await ofLines();
});

test("an old server is refused with its version", async (t) => {
  const info = {
    server_id: "S",
    version: "2.9.10",
    max_payload: 1_048_576,
    headers: true,
    proto: 1,
  };
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    socket.on("data", (data) => {
      if (data.toString().includes("PING")) socket.write("PONG\r\n");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  await rejects(
    connectBus({ url: `nats://127.0.0.1:${port}`, name: "old" }),
    (error) => coded("bus-too-old")(error) && /2\.9\.10/.test(String(error)),
  );
});

test("a server of the list that was not up at first is found when the others go", async (t) => {
  const [late, first] = [await startTestBus(t), await startTestBus(t)];
  await late.server.stop();
  const url = `${late.url},${first.url}`;
  // In which order servers are tried is random: one of so many tries the late one first.
  const buses = await Promise.all(
    Array.from({ length: 8 }, () => connectBus({ url, name: "list" })),
  );
  t.after(() => Promise.all(buses.map((bus) => bus.close())));
  await late.restart();
  await first.server.stop();
  for (const [n, bus] of buses.entries()) await bus.append(lost("list", n), { timeoutMs: 20_000 });
});

test("no server within the time is bus-unavailable; a taken port is port-in-use", async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await rejects(
    startNatsServer({ binary: "/nonexistent", dataDir: t.name ? "/tmp/coxswain-none" : "", port }),
    coded("port-in-use"),
  );
  await new Promise((resolve) => server.close(resolve));
  await rejects(
    connectBus({ url: `nats://127.0.0.1:${port}`, name: "none", connectTimeoutMs: 1 }),
    coded("bus-unavailable"),
  );
});
