import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import type { Piece } from "../decide/shards.ts";
import { allocate, reducedStamp, vectorsOf } from "../exchange/memory.ts";
import type { ComputeOrder } from "./compute-messages.ts";
import { finishJointly } from "./joint-piece.ts";
import { Subtrees } from "./subtrees.ts";

const layout = {
  segments: [],
  parameterFloats: 16,
  metricNames: ["loss"],
  vectorFloats: 32,
  slotCount: 0,
};
const order: ComputeOrder = { step: 5, steps: 1, pieces: [{ lo: 8, size: 8 }] };

/** What is computed and added up while a piece is finished; a newer order may come after some shards. */
async function story(
  piece: Piece,
  {
    given = order,
    isMeasured = false,
    isAlone = false,
    finished = [] as Piece[],
    countMax = 8,
    atOnce = 1,
    newer = undefined as { readonly after: number; readonly step: number } | undefined,
  },
) {
  const said: string[] = [];
  const vectors = vectorsOf(allocate(layout, 8));
  const subtrees = new Subtrees(vectors.pool.length);
  subtrees.startStep(5, 1);
  for (const one of finished) subtrees.finish(one, subtrees.take([]));
  let started = 0;
  const gradient = {
    jointMax: ({ steps }: { readonly steps: number }) => (steps === 1 ? countMax : 1),
    atOnce: (count: number) => Math.min(count, atOnce),
    start: ({ step, shard, count }: { step: number; shard: number; count: number }) => {
      started += count;
      return [step * 100 + shard];
    },
    sum: (runs: readonly number[], into: Float32Array) =>
      void said.push(`sum ${runs}${into === vectors.reduced[1] ? " in place" : ""}`),
    drop: (runs: readonly number[]) => void said.push(`drop ${runs}`),
  };
  const isOver = () => newer !== undefined && started >= newer.after;
  const newest = () => (isOver() ? { ...given, step: newer!.step } : given);
  const work = { shards: 0, ms: 0 };
  const parts = { gradient, subtrees, noise: { isOn: isMeasured }, vectors, work };
  const into = { stamp: reducedStamp(8, 1), vector: vectors.reduced[1] };
  const orders = { order: given, newest, ...(isAlone && { into }) };
  const isDone = await finishJointly(parts, orders, piece);
  const there = [1, 2, 4, 8].flatMap((size) =>
    Array.from({ length: 16 / size }, (_, i) => ({ lo: i * size, size })).filter(
      (one) => subtrees.get(one) !== undefined,
    ),
  );
  return { isDone, said, there: there.map(({ lo, size }) => `${lo}+${size}`), shards: work.shards };
}

const piece = { lo: 8, size: 8 };

test("a piece's shards are computed in order and added up once", async () => {
  deepEqual(await story(piece, {}), {
    isDone: true,
    said: ["sum 508,509,510,511,512,513,514,515"],
    there: ["8+8"],
    shards: 8,
  });
});

test("shards that are computed at once are one run, and looked up from after each", async () => {
  const kept = { isDone: false, there: ["8+4"], shards: 4 };
  deepEqual(await story(piece, { atOnce: 8 }), {
    ...{ isDone: true, said: ["sum 508"], there: ["8+8"], shards: 8 },
  });
  deepEqual(await story(piece, { atOnce: 2, newer: { after: 4, step: 5 } }), {
    ...{ ...kept, said: ["sum 508,510"] },
  });
});

test("a piece that is the whole sum is made where the sum is wanted", async () => {
  deepEqual(await story(piece, { isAlone: true }), {
    isDone: true,
    said: ["sum 508,509,510,511,512,513,514,515 in place"],
    there: [],
    shards: 8,
  });
});

test("but what is there of it when a newer order comes is kept", async () => {
  deepEqual(await story(piece, { isAlone: true, newer: { after: 4, step: 5 } }), {
    isDone: false,
    said: ["sum 508,509,510,511"],
    there: ["8+4"],
    shards: 4,
  });
});

test("of a step that goes on under a newer order, what was computed is kept as subtrees", async () => {
  deepEqual(await story(piece, { newer: { after: 7, step: 5 } }), {
    isDone: false,
    said: ["sum 508,509,510,511", "sum 512,513", "sum 514"],
    there: ["14+1", "12+2", "8+4"],
    shards: 7,
  });
});

test("of a step that is over, nothing is kept", async () => {
  const { isDone, said, there } = await story(piece, { newer: { after: 3, step: 6 } });
  deepEqual([isDone, said, there], [false, ["drop 508,509,510"], []]);
});

const oneByOne = {
  "a single shard": story({ lo: 8, size: 1 }, {}),
  "more than memory is kept for": story(piece, { countMax: 4 }),
  "an update of several steps": story(piece, { given: { ...order, steps: 2 } }),
  "a shard of it is audited": story(piece, { given: { ...order, audit: 15 } }),
  "each shard is measured": story(piece, { isMeasured: true }),
  "a part is there": story(piece, { finished: [{ lo: 12, size: 2 }] }),
  "a range that is no subtree": story({ lo: 9, size: 4 }, {}),
};
for (const [name, told] of Object.entries(oneByOne))
  test(`${name}: the shards are added up one by one`, async () => {
    equal((await told).isDone, undefined);
  });

test("a shard that is audited elsewhere hinders nothing", async () => {
  equal((await story(piece, { given: { ...order, audit: 7 } })).isDone, true);
});
