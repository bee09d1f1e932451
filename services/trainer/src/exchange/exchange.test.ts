/** Frames, the connections' handshake, and the all-reduce over real sockets. */
import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { openBenchExchange } from "./bench-entry.ts";
import { encodeFrame, type FrameHead, FrameParser, frameTypes, payloadBytesMax } from "./frames.ts";
import { Peers } from "./peers.ts";

const head: FrameHead = {
  type: frameTypes.piece,
  lo: 2,
  size: 2,
  slice: 1,
  generation: 7,
  step: 9,
  offset: 64,
};

test("frames survive any cutting of the stream", () => {
  const payloads = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(
      payloads,
      fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }),
      (sent, cuts) => {
        const stream = Buffer.concat(sent.map((payload) => encodeFrame(head, payload)));
        const parser = new FrameParser();
        const got: number[][] = [];
        for (let at = 0, i = 0; at < stream.length; i += 1) {
          const size = cuts[i % cuts.length]!;
          for (const parsed of parser.feed(stream.subarray(at, at + size))) {
            equal(parsed.kind, "frame");
            if (parsed.kind === "frame") got.push([...parsed.frame.payload]);
          }
          at += size;
        }
        deepEqual(
          got,
          sent.map((payload) => [...payload]),
        );
      },
    ),
  );
});

test("a flipped bit anywhere in a frame never passes as the same frame", () => {
  const frame = encodeFrame(head, Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]));
  for (let bit = 0; bit < frame.length * 8; bit += 1) {
    const broken = Buffer.from(frame);
    broken[bit >> 3]! ^= 1 << (bit & 7);
    const [parsed] = [...new FrameParser().feed(broken)];
    notEqual(parsed?.kind, "frame"); // A greater length waits for more bytes.
  }
});

test("a length beyond the limit is nonsense before anything is stored", () => {
  const frame = encodeFrame(head, new Uint8Array(4));
  frame.writeUInt32LE(payloadBytesMax + 1, 24);
  const [parsed] = [...new FrameParser().feed(frame.subarray(0, 32))];
  equal(parsed?.kind, "nonsense");
});

function openPeers(t: TestContext, workerId: string, secret: string) {
  const connected: string[] = [];
  const lost = Promise.withResolvers<string>();
  const peers = new Peers(
    { jobId: "j", workerId, secret, host: "127.0.0.1", handshakeTimeoutMs: 200 },
    {
      onConnected: (id) => void connected.push(id),
      onFrame: () => undefined,
      onControl: () => undefined,
      onLost: (id) => lost.resolve(id),
    },
  );
  t.after(() => peers.close());
  return { peers, connected, lost: lost.promise };
}

test("who knows the secret is let in, who does not is not", async (t) => {
  const a = openPeers(t, "a", "right");
  const b = openPeers(t, "b", "right");
  const c = openPeers(t, "c", "wrong");
  const address = await a.peers.listen();
  equal(await b.peers.connect("a", address), true);
  equal(await c.peers.connect("a", address), false);
  deepEqual(a.connected, ["b"]);
});

test("a peer that is somebody else than expected is refused", async (t) => {
  const a = openPeers(t, "a", "right");
  const b = openPeers(t, "b", "right");
  equal(await b.peers.connect("other", await a.peers.listen()), false);
});

test("who says nothing, or nonsense, is dropped", async (t) => {
  const a = openPeers(t, "a", "right");
  const address = await a.peers.listen();
  const port = Number(address.split(":")[1]);
  for (const words of ["", "GET / HTTP/1.1\r\nhost: x\r\nuser-agent: somebody\r\n\r\n"]) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    if (words) socket.write(words);
    await once(socket, "close");
  }
  deepEqual(a.connected, []);
});

test("nonsense after the handshake ends the connection, and it counts as lost", async (t) => {
  const a = openPeers(t, "a", "right");
  const b = openPeers(t, "b", "right");
  equal(await b.peers.connect("a", await a.peers.listen()), true);
  b.peers.send("a", Buffer.alloc(100, 7));
  equal(await a.lost, "b");
});

/** T(lo, z) = T(lo, z/2) + T(lo + z/2, z/2), in the plainest way. */
function treeSum(leaves: readonly Float32Array[]): Float32Array {
  if (leaves.length === 1) return leaves[0]!;
  const [a, b] = [
    treeSum(leaves.slice(0, leaves.length / 2)),
    treeSum(leaves.slice(leaves.length / 2)),
  ];
  return a.map((value, i) => value + b[i]!);
}

for (const world of [1, 2, 3, 4, 5]) {
  test(`${world} ranks: the sum has the bits of the canonical tree`, async (t) => {
    const floats = 16 * 4099; // Several frames a slice, and slices of unequal length.
    const ranks = await Promise.all(
      Array.from({ length: world }, (_, rank) =>
        openBenchExchange({ rank, world, floats, secret: "s" }),
      ),
    );
    t.after(() => Promise.all(ranks.map((rank) => rank.close())));
    const addresses = ranks.map(({ address }) => address);
    await Promise.all(ranks.map((rank) => rank.connect(addresses)));
    for (let round = 0; round < 4; round += 1) {
      for (const [rank, { input }] of ranks.entries())
        for (let i = 0; i < floats; i += 1)
          input[i] = Math.sin(i * 7 + rank * 13 + round) * 10 ** ((i + rank) % 9);
      let shards = 1;
      while (shards < world) shards *= 2;
      const leaves = ranks.map(({ input }) => input.slice());
      const sums = await Promise.all(ranks.map((rank) => rank.allReduce()));
      for (const sum of sums)
        equal(
          Buffer.compare(Buffer.from(sum.slice().buffer), Buffer.from(sums[0]!.slice().buffer)),
          0,
        );
      if (shards === world)
        equal(
          Buffer.compare(Buffer.from(sums[0]!.slice().buffer), Buffer.from(treeSum(leaves).buffer)),
          0,
        );
      ok(Number.isFinite(sums[0]![5]!));
    }
  });
}
