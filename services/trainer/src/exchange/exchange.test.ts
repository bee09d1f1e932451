/** Frames, the connections' handshake, and the all-reduce over real sockets. */
import { deepEqual, equal, match, notEqual, ok } from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { installSharedMemory, openSharedMemory } from "@coxswain/shared-memory";
import fc from "fast-check";
import { assignShards } from "../decide/shards.ts";
import { Board } from "./board.ts";
import { BoardReduce } from "./board-reduce.ts";
import { FrameReader, readerBytes } from "./frame-reader.ts";
import {
  encodeFrame,
  type Frame,
  type FrameHead,
  frameTypes,
  type Parsed,
  parseFrame,
  payloadBytesMax,
} from "./frames.ts";
import { allocate, beginWrite, type Vectors, vectorsOf } from "./memory.ts";
import { Peers, type PeersOptions } from "./peers.ts";
import { Reduce } from "./reduce.ts";
import { openExchange } from "./testing.ts";

// Before any test: the runner ends when no test is left.
const cacheDir = await mkdtemp(join(tmpdir(), "coxswain-exchange-"));
after(() => rm(cacheDir, { recursive: true, force: true }));
const memory = await installSharedMemory(cacheDir).then(
  () => openSharedMemory(cacheDir),
  () => undefined, // There is no compiler: connections only.
);

const head: FrameHead = {
  type: frameTypes.piece,
  lo: 2,
  size: 2,
  slice: 1,
  generation: 7,
  step: 9,
  offset: 64,
};

function readerOf(): FrameReader {
  const reader = new FrameReader();
  reader.useBuffer(Buffer.alloc(readerBytes));
  return reader;
}

function* feed(reader: FrameReader, chunk: Buffer): Generator<Parsed> {
  for (let at = 0; at < chunk.length; ) {
    const bytes = chunk.copy(reader.space(), 0, at);
    at += bytes;
    yield* reader.received(bytes);
  }
}

test("frames survive any cutting of the stream", () => {
  const payloads = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(
      payloads,
      fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }),
      (sent, cuts) => {
        const stream = Buffer.concat(sent.map((payload) => encodeFrame(head, payload)));
        const reader = readerOf();
        const got: number[][] = [];
        for (let at = 0, i = 0; at < stream.length; i += 1) {
          const size = cuts[i % cuts.length]!;
          for (const parsed of feed(reader, stream.subarray(at, at + size))) {
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
    const [parsed] = [...feed(readerOf(), broken)];
    notEqual(parsed?.kind, "frame"); // A greater length waits for more bytes.
  }
});

test("a length beyond the limit is nonsense before anything is stored", () => {
  const frame = encodeFrame(head, new Uint8Array(4));
  frame.writeUInt32LE(payloadBytesMax + 1, 24);
  const [parsed] = [...feed(readerOf(), frame.subarray(0, 32))];
  equal(parsed?.kind, "nonsense");
});

function openPeers(
  t: TestContext,
  workerId: string,
  secret: string,
  more: Partial<PeersOptions> = {},
) {
  const connected: string[] = [];
  const lost = Promise.withResolvers<string>();
  const told = Promise.withResolvers<string>();
  const peers = new Peers(
    { jobId: "j", workerId, secret, host: "127.0.0.1", handshakeTimeoutMs: 1000, ...more },
    {
      onConnected: (id) => void connected.push(id),
      onFrame: () => undefined,
      onControl: (_, { kind }) => told.resolve(kind),
      onLost: (id, reason) => {
        lost.resolve(id);
        told.resolve(`lost: ${reason}`);
      },
    },
  );
  t.after(() => peers.close());
  return { peers, connected, lost: lost.promise, told: told.promise };
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

const encrypted = { isEncrypted: true, isLocalAllowed: false };

test("inside TLS: who knows the secret is let in; who has another one, or no TLS, is not", async (t) => {
  const a = openPeers(t, "a", "right", encrypted);
  const address = await a.peers.listen();
  equal(await openPeers(t, "b", "right", encrypted).peers.connect("a", address), true);
  equal(await openPeers(t, "c", "wrong", encrypted).peers.connect("a", address), false);
  equal(await openPeers(t, "d", "right").peers.connect("a", address), false);
  deepEqual(a.connected, ["b"]);
  const plain = openPeers(t, "p", "right");
  const plainAddress = await plain.peers.listen();
  equal(await openPeers(t, "e", "right", encrypted).peers.connect("p", plainAddress), false);
  deepEqual(plain.connected, []);
});

test("what goes through TLS is not to be read on the way", async (t) => {
  const a = openPeers(t, "a", "right", encrypted);
  const port = Number((await a.peers.listen()).split(":")[1]);
  const seen: Buffer[] = [];
  const between = createServer((socket) => {
    const on = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [socket, on],
      [on, socket],
    ] as const) {
      from.on("data", (chunk: Buffer) => seen.push(chunk)).on("error", () => undefined);
      from.pipe(to);
    }
  });
  t.after(() => between.close());
  between.listen(0, "127.0.0.1");
  await once(between, "listening");
  const { port: listens } = between.address() as AddressInfo;
  const b = openPeers(t, "b", "right", encrypted);
  equal(await b.peers.connect("a", `127.0.0.1:${listens}`), true);
  b.peers.tell("a", { kind: "a-word-of-ours" });
  equal(await a.told, "a-word-of-ours");
  const bytes = Buffer.concat(seen);
  ok(bytes.length > 200, "it went by here");
  equal(bytes.includes("a-word-of-ours"), false);
  equal(bytes.includes("challenge"), false);
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

test("who gives no sign of life is lost, and the reason says for how long", async (t) => {
  const a = openPeers(t, "a", "right");
  const b = openPeers(t, "b", "right");
  equal(await b.peers.connect("a", await a.peers.listen()), true);
  // b gives none, since nobody calls upon it to.
  const timer = setInterval(() => a.peers.heartbeat(40), 5);
  t.after(() => clearInterval(timer));
  equal(await a.told, "lost: no sign of life for 40 ms");
});

test("who takes less than is sent to it is lost, and the reason says how much waits", async (t) => {
  const a = openPeers(t, "a", "right");
  const b = openPeers(t, "b", "right");
  equal(await b.peers.connect("a", await a.peers.listen()), true);
  const vector = new Float32Array(4 * 1024 * 1024);
  for (let i = 0; i < 70; i += 1) b.peers.sendVector("a", head, vector);
  match(await b.told, /^lost: it is too slow: \d+ bytes wait for it$/);
});

test("vectors that became void are not sent, and their memory may be written after that", async (t) => {
  const a = openPeers(t, "a", "right");
  const b = openPeers(t, "b", "right");
  equal(await b.peers.connect("a", await a.peers.listen()), true);
  const vector = new Float32Array(8 * 1024 * 1024);
  // More than the system takes at once goes first, so that the vector's first part has to wait.
  const other = encodeFrame(head, new Uint8Array(payloadBytesMax));
  for (let i = 0; i < 64; i += 1) b.peers.send("a", other);
  const beforeBytes = b.peers.queuedBytes("a");
  b.peers.sendVector("a", head, vector);
  const sending = b.peers.forgetVectors();
  ok(b.peers.queuedBytes("a") - beforeBytes < vector.byteLength / 2, "most of it was taken back");
  ok(sending !== undefined, "the socket still has a part");
  await sending;
  vector.fill(1);
  b.peers.tell("a", { kind: "after" });
  equal(await a.told, "after"); // A frame that changed on its way would end the connection.
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

const floats = 16 * 20_011; // Several blocks a slice, and slices of unequal length.

interface Transport {
  readonly name: string;
  readonly memory?: boolean;
  readonly areBoardsUsed?: boolean;
  readonly isLocalAllowed?: boolean;
  readonly isEncrypted?: boolean;
  readonly ranksPerMachine?: number;
}

const transports: readonly Transport[] = [
  { name: "TCP", isLocalAllowed: false },
  { name: "TLS", isLocalAllowed: false, isEncrypted: true },
  { name: "Unix sockets" },
  { name: "shared memory", memory: true },
  { name: "shared memory, told over connections", memory: true, areBoardsUsed: false },
  { name: "shared memory within a machine, TCP between", memory: true, ranksPerMachine: 2 },
];

async function openRanks(t: TestContext, world: number, transport: Transport) {
  const { ranksPerMachine, isLocalAllowed = true, isEncrypted = false } = transport;
  const options = {
    ...{
      floats,
      world,
      secret: "s",
      ranksPerMachine,
      areBoardsUsed: transport.areBoardsUsed,
      connections: { isLocalAllowed, isEncrypted },
    },
    memory: transport.memory === true ? memory : undefined,
  };
  const ranks = await Promise.all(
    Array.from({ length: world }, (_, rank) => openExchange({ ...options, rank })),
  );
  t.after(() => Promise.all(ranks.map((rank) => rank.close())));
  const addresses = ranks.map(({ address }) => address);
  await Promise.all(ranks.map((rank) => rank.connect(addresses)));
  return ranks;
}

const bytesOf = (floats: Float32Array) => Buffer.from(floats.slice().buffer);

for (const transport of transports)
  for (const world of [1, 2, 3, 4, 5]) {
    const skip = transport.memory && memory === undefined ? "shared memory is not here" : false;
    const name = `${world} ranks over ${transport.name}: the sum has the bits of the canonical tree`;
    test(name, { skip }, async (t) => {
      const ranks = await openRanks(t, world, transport);
      for (let round = 0; round < 4; round += 1) {
        for (const [rank, { change }] of ranks.entries())
          change((input) => {
            for (let i = 0; i < input.length; i += 1)
              input[i] = Math.sin(i * 7 + rank * 13 + round) * 10 ** ((i + rank) % 9);
          });
        // Each rank's input is its first shard; its others are zero.
        const shards = 2 ** Math.ceil(Math.log2(world));
        const leaves = Array.from({ length: shards }, () => new Float32Array(floats));
        for (const [rank, { from }] of assignShards(shards, world).entries())
          leaves[from]!.set(ranks[rank]!.input);
        const expected = bytesOf(treeSum(leaves));
        for (const sum of await Promise.all(ranks.map((rank) => rank.allReduce())))
          equal(Buffer.compare(bytesOf(sum), expected), 0);
      }
    });
  }

test("what was overwritten before it was read is never taken for what was meant", async () => {
  const layout = { segments: [], parameterFloats: 0, metricNames: [], slotCount: 0 };
  const areas = [0, 1].map(() => allocate({ ...layout, vectorFloats: 32 }, 2));
  const [mine, theirs] = areas.map(vectorsOf) as [Vectors, Vectors];
  const sent: Frame[] = [];
  const plain = {
    add: (out: Float32Array, a: Float32Array, b: Float32Array) =>
      out.set(a.map((value, i) => value + b[i]!)),
    copy: (out: Float32Array, from: Float32Array) => out.set(from),
    put: () => undefined,
  };
  const of = (rank: number, vectors: Vectors, window: Vectors, onWhole: () => void) =>
    new Reduce({
      ...{ generation: 1, step: 0, turn: 0, shards: 2, rank, vectors, vectorFloats: 32, onWhole },
      mode: "exact",
      ranges: assignShards(2, 2),
      kernels: plain,
      sharing: { windowOf: () => window, isMappedBy: () => true },
      send: (_, frame) => {
        const parsed = parseFrame(frame);
        if (parsed.kind === "frame") sent.push(parsed.frame);
      },
      sendVector: () => undefined,
    });
  const reader = of(0, mine, theirs, () => undefined);
  const writer = of(1, theirs, mine, () => undefined);
  theirs.pool[0]!.fill(5);
  writer.give({ lo: 1, size: 1 }, 0);
  const [piece] = sent.splice(0) as [Frame];
  equal(piece.type, frameTypes.pieceHere);
  beginWrite(theirs, 0); // It goes on, in a generation without the reader.
  theirs.pool[0]!.fill(9);
  equal(reader.receive(piece, 1), undefined);
  reader.give({ lo: 0, size: 1 }, 0);
  deepEqual(
    sent.map(({ type }) => type),
    [frameTypes.pieceHere], // Its own piece, and no sum.
  );
  const nowhere = { ...piece, payload: Uint8Array.from([200, 0, 0, 0, 1, 0, 0, 0]) };
  equal(
    of(0, mine, theirs, () => undefined).receive(nowhere, 1),
    "it points at no memory of a peer",
  );
});

test("by boards too, what was overwritten before it was read is never taken for what was meant", () => {
  const layout = { segments: [], parameterFloats: 0, metricNames: [], slotCount: 0 };
  const areas = [0, 1].map(() => allocate({ ...layout, vectorFloats: 32 }, 2));
  const vectors = areas.map(vectorsOf) as [Vectors, Vectors];
  const plain = {
    add: (out: Float32Array, a: Float32Array, b: Float32Array) =>
      out.set(a.map((value, i) => value + b[i]!)),
    copy: (out: Float32Array, from: Float32Array) => out.set(from),
    put: () => undefined,
  };
  const boards = vectors.map(({ board }) => new Board(board, undefined)) as [Board, Board];
  const at = (rank: 0 | 1, step: number, generation = 1) =>
    new BoardReduce({
      ...{ generation, step, turn: (step % 2) as 0 | 1, shards: 2, rank, vectorFloats: 32 },
      ...{ mode: "exact", ranges: assignShards(2, 2), kernels: plain, board: boards[rank] },
      ...{ vectors: vectors[rank], windows: rank === 0 ? [undefined, vectors[1]] : [vectors[0]] },
    });
  const fill = (rank: 0 | 1, value: number) => {
    beginWrite(vectors[rank], 0);
    vectors[rank].pool[0]!.fill(value);
  };
  const give = (rank: 0 | 1, reduce: BoardReduce) => reduce.give({ lo: rank, size: 1 }, 0);
  const step = [at(0, 0), at(1, 0)] as const;
  for (const rank of [0, 1] as const) {
    fill(rank, rank + 1);
    give(rank, step[rank]);
  }
  equal(step[0].advance(), false); // The other's slice is missing.
  equal(step[1].advance(), true);
  equal(step[0].advance(), true);
  deepEqual([vectors[0].reduced[0][0], vectors[0].reduced[0][31]], [3, 3]);
  const other = at(0, 1);
  fill(0, 1);
  give(0, other);
  give(1, at(1, 1, 2)); // Another generation's.
  equal(other.advance(), false);
  fill(1, 5);
  give(1, at(1, 1));
  fill(1, 9); // It goes on, in a generation without the reader.
  for (let look = 0; look < 3; look += 1) equal(other.advance(), false);
  const end = at(0, 3);
  fill(0, 1);
  give(0, end);
  vectors[1].board.fill(2 ** 20); // Nonsense of a peer.
  equal(end.advance(), false);
});
