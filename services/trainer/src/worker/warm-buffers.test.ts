import { deepEqual, equal, notEqual } from "node:assert/strict";
import { test } from "node:test";
import { WarmBuffers } from "./warm-buffers.ts";

test("memory is used again where it is large enough, the least first", () => {
  const buffers = new WarmBuffers(2);
  const [small, large] = [buffers.take(10), buffers.take(20)];
  equal(buffers.take(5).buffer === small.buffer, false);
  buffers.giveBack(large);
  buffers.giveBack(small);
  const again = buffers.take(10);
  deepEqual([again.length, again.buffer === small.buffer], [10, true]);
  const shorter = buffers.take(15);
  deepEqual([shorter.length, shorter.buffer === large.buffer], [15, true]);
  equal(buffers.take(1).buffer.byteLength, 4);
});

test("the largest are kept", () => {
  const buffers = new WarmBuffers(1);
  const [small, large] = [buffers.take(10), buffers.take(20)];
  buffers.giveBack(large);
  buffers.giveBack(small);
  equal(buffers.take(10).buffer, large.buffer);
  notEqual(buffers.take(10).buffer, small.buffer);
});
