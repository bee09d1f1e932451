import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import type { Layout } from "@coxswain/engine";
import { encodePlace, type Frame, frameTypes, parseFrame } from "../exchange/frames.ts";
import { allocate, beginWrite, reducedStamp, vectorsOf } from "../exchange/memory.ts";
import { ReducedInbox, reducedFrames } from "./follow.ts";

const shards = 4;
const layout: Layout = {
  segments: [{ name: "w", shape: [32], offset: 0, size: 32 }],
  ...{ parameterFloats: 32, metricNames: ["loss"], vectorFloats: 48, slotCount: 0 },
};
const step = 5;

/** A follower of "donor", whose memory it has mapped. */
function follower() {
  const [own, donor] = [allocate(layout, shards), allocate(layout, shards)];
  const vectors = vectorsOf(own);
  const window = vectorsOf(donor);
  const kernels = {
    copy: (out: Float32Array, from: Float32Array) => out.set(from),
  };
  const whole: number[] = [];
  const read: number[] = [];
  const inbox = new ReducedInbox({
    ...{ vectors, kernels, shards },
    turnOf: (at) => (at % 2) as 0 | 1,
    windowOf: (workerId) => (workerId === "donor" ? window : undefined),
    isExpected: (at) => at === step,
    onWhole: async (at) => void whole.push(at),
    onRead: (_, at) => void read.push(at),
  });
  const reduced = vectors.reduced[step % 2]!;
  window.reduced[step % 2]!.fill(7);
  return { inbox, reduced, window, whole, read };
}

function parsed(bytes: Buffer): Frame {
  const frame = parseFrame(bytes);
  equal(frame.kind, "frame");
  return (frame as { readonly frame: Frame }).frame;
}

const placeOf = (vector: number, stamp: number) =>
  encodePlace(
    { type: frameTypes.reducedHere, lo: 0, size: 0, slice: 0, generation: 0, step },
    { vector, stamp },
  );

test("what is received is kept, though the connection reads into the same memory again", async () => {
  const { inbox, reduced, whole } = follower();
  for (const bytes of reducedFrames(step, new Float32Array(48).fill(3))) {
    inbox.receive("donor", parsed(bytes));
    bytes.fill(0xff);
  }
  await inbox.settled();
  deepEqual([whole, [...new Set(reduced)]], [[step], [3]]);
});

test("a vector in the donor's memory is read where it lies, and the donor is told", async () => {
  const { inbox, reduced, window, whole, read } = follower();
  const vector = reducedStamp(shards, (step % 2) as 0 | 1);
  const bytes = placeOf(vector, window.stamps[vector]!);
  inbox.receive("donor", parsed(bytes));
  bytes.fill(0xff);
  await inbox.settled();
  deepEqual([whole, read, [...new Set(reduced)]], [[step], [step], [7]]);
});

test("one that has changed meanwhile is not; its numbers are", async () => {
  const { inbox, reduced, window, whole, read } = follower();
  const vector = reducedStamp(shards, (step % 2) as 0 | 1);
  const bytes = placeOf(vector, window.stamps[vector]!);
  beginWrite(window, vector);
  inbox.receive("donor", parsed(bytes));
  for (const frame of reducedFrames(step, new Float32Array(48).fill(3)))
    inbox.receive("donor", parsed(frame));
  await inbox.settled();
  deepEqual([whole, read, [...new Set(reduced)]], [[step], [], [3]]);
});

test("a place that is none, or of nobody's memory, is left", async () => {
  const { inbox, whole } = follower();
  inbox.receive("donor", parsed(placeOf(1_000_000, 0)));
  inbox.receive("somebody", parsed(placeOf(reducedStamp(shards, (step % 2) as 0 | 1), 0)));
  await inbox.settled();
  deepEqual(whole, []);
});
