/** A peer that keeps its connection and only trickles, over real sockets; time goes by when it is told to. */
import { deepEqual, equal } from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { hearMs } from "../decide/overdue.ts";
import { headBytes, payloadBytesMax } from "../exchange/frames.ts";
import { buildKernels } from "../exchange/kernels.ts";
import { allocate, vectorsOf } from "../exchange/memory.ts";
import { Peers } from "../exchange/peers.ts";
import { StepClock } from "./step-clock.ts";
import { StepExchange } from "./step-exchange.ts";
import { overdueOf } from "./watch.ts";

const shards = 2;
/** Each slice is of two frames of the greatest length. */
const vectorFloats = (2 * 2 * payloadBytesMax) / 4;
const step = 7;
const stepTimeout = 300;
const members = [
  { workerId: "a", shardFrom: 0, shardTo: 1 },
  { workerId: "b", shardFrom: 1, shardTo: 2 },
];

/** A worker's side of the exchange: real connections, real sums, a clock of the test. `heard`: so many frames are here. */
function open(t: TestContext, workerId: string, clock: { nowMs(): number }, framesMin: number) {
  let frames = 0;
  const areas = allocate(
    { segments: [], parameterFloats: 0, metricNames: [], vectorFloats, slotCount: 0 },
    shards,
  );
  const vectors = vectorsOf(areas);
  const heard = Promise.withResolvers<void>();
  const peers = new Peers(
    {
      ...{ jobId: "j", workerId, secret: "s", host: "127.0.0.1" },
      ...{ handshakeTimeoutMs: 10_000, isLocalAllowed: false },
    },
    {
      onConnected: () => undefined,
      onControl: () => undefined,
      onLost: () => undefined,
      onFrame: (from, frame) => {
        const rank = members.findIndex((member) => member.workerId === from);
        equal(exchange.of(step).receive(frame, rank), undefined);
        frames += 1;
        if (frames === framesMin) heard.resolve();
      },
    },
  );
  t.after(() => peers.close());
  const exchange: StepExchange = new StepExchange({
    ...{ workerId, shards, exchange: "exact", vectorFloats, vectors, peers },
    kernels: buildKernels(areas.memory),
    updates: { turnOf: () => 1 },
    generation: () => 1,
    members: () => members,
    onWhole: () => undefined,
  });
  const stepClock = new StepClock(clock);
  stepClock.start();
  return {
    peers,
    heard: heard.promise,
    giveOwn: () => exchange.of(step).give(exchange.piecesIn(members)![0]!, 0),
    overdue: () => {
      const watched = { step, stepAgeMs: stepClock.ageMs, missing: exchange.missing(step) };
      const error = overdueOf(watched, { workerId, stepTimeout });
      return error && [error.code, error.details["workerId"], error.sentence];
    },
  };
}

/** Passes everything on; from `trickle` on only so many bytes of what comes from who has dialled. */
async function slowLink(t: TestContext, address: string) {
  let left = Number.POSITIVE_INFINITY;
  const pass = (from: Socket, to: Socket) =>
    from.on("data", (chunk: Buffer) => {
      to.write(chunk.subarray(0, left));
      left = Math.max(0, left - chunk.length);
    });
  const server = createServer((dialled) => {
    const on = connect(Number(address.split(":")[1]), "127.0.0.1");
    for (const socket of [dialled, on]) socket.on("error", () => undefined);
    pass(dialled, on);
    on.pipe(dialled);
    t.after(() => [dialled, on].map((socket) => socket.destroy()));
  });
  t.after(() => server.close());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    trickle: (bytes: number) => {
      left = bytes;
    },
  };
}

test("a peer that only trickles: who waits for it names it, before who waits for a sum says anything", async (t) => {
  let nowMs = 1000;
  const clock = { nowMs: () => nowMs };
  // One frame of b's gradients comes through, both of a's.
  const [a, b] = [open(t, "a", clock, 1), open(t, "b", clock, 2)];
  const link = await slowLink(t, await a.peers.listen());
  equal(await b.peers.connect("a", link.address), true);
  link.trickle(headBytes + payloadBytesMax + 100);
  a.giveOwn();
  b.giveOwn();
  await Promise.all([a.heard, b.heard]);

  nowMs += stepTimeout * 1000;
  deepEqual([a.overdue(), b.overdue()], [undefined, undefined]);
  nowMs += hearMs + 1;
  const sent = `${payloadBytesMax} of ${2 * payloadBytesMax}`;
  deepEqual(a.overdue(), [
    ...["peer-slow", "b"],
    `step 7 takes longer than 300 s: worker "b" keeps its connection, and has sent ${sent} bytes of the gradients of its shards`,
  ]);
  equal(b.overdue(), undefined);
  equal(a.peers.isConnected("b"), true);
});
