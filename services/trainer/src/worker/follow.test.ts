import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { frameTypes, parseFrame } from "../exchange/frames.ts";
import { plainLayout } from "../exchange/in-process.ts";
import { buildKernels } from "../exchange/kernels.ts";
import { allocate, vectorsOf } from "../exchange/memory.ts";
import { ReducedInbox, reducedFrames } from "./follow.ts";

test("a vector that waits its turn is the one that came, whatever is read into its buffer then", async () => {
  const areas = allocate(plainLayout(16), 2);
  const vectors = vectorsOf(areas);
  const whole: number[] = [];
  const inbox = new ReducedInbox({
    ...{ vectors, shards: 2, kernels: buildKernels(areas.memory) },
    turnOf: (step) => (step % 2) as 0 | 1,
    windowOf: () => undefined,
    isExpected: () => true,
    onWhole: async (step) => void whole.push(step),
    onRead: () => undefined,
  });
  const sent = Float32Array.from({ length: 16 }, (_, i) => i);
  for (const bytes of reducedFrames(3, sent)) {
    const parsed = parseFrame(bytes);
    if (parsed.kind !== "frame") throw new Error(parsed.kind);
    deepEqual(parsed.frame.type, frameTypes.reduced);
    inbox.receive("w", parsed.frame);
    bytes.fill(0xff);
  }
  await inbox.settled();
  deepEqual([...vectors.reduced[1]], [...sent]);
  deepEqual(whole, [3]);
});
