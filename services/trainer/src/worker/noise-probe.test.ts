import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { NoiseProbe } from "./noise-probe.ts";

/** A clock that each look moves on by a millisecond. */
function ticking() {
  let nowMs = 0;
  return { now: () => (nowMs += 1), wait: (ms: number) => (nowMs += ms) };
}

const shards = [Float32Array.of(1, 0, 0, 0, 1), Float32Array.of(0, 1, 0, 0, 1)];
const whole = Float32Array.of(1, 1, 0, 0, 2);

test("shards and the whole are seen at the scale of a mean", () => {
  const probe = new NoiseProbe(2, ticking().now);
  probe.begin(5);
  for (const shard of shards) probe.shard(shard);
  // Twice the part of the mean is the gradient of a shard alone: 4 (1 + 1).
  deepEqual(probe.whole(5, whole), { partSquares: 8, meanSquare: 6 });
});

test("the share of time bounds how often a step is measured", () => {
  const clock = ticking();
  const probe = new NoiseProbe(2, clock.now);
  const measure = (step: number) => {
    probe.begin(step);
    for (const shard of shards) probe.shard(shard);
    return probe.whole(step, whole);
  };
  ok(measure(0));
  equal(measure(1), undefined);
  clock.wait(590); // three norms took a millisecond each
  equal(measure(2), undefined);
  clock.wait(10);
  ok(measure(3));
});

test("a step that came from elsewhere, a single shard or an overflow shows nothing", () => {
  const probe = new NoiseProbe(2, ticking().now);
  probe.begin(1);
  equal(probe.whole(1, whole), undefined, "no shard was seen");
  probe.shard(shards[0]!);
  equal(probe.whole(2, whole), undefined, "another step");
  probe.begin(3);
  probe.shard(Float32Array.of(Number.POSITIVE_INFINITY));
  equal(probe.whole(3, whole), undefined);
  const alone = new NoiseProbe(1, ticking().now);
  alone.begin(1);
  alone.shard(whole);
  equal(alone.whole(1, whole), undefined);
});
