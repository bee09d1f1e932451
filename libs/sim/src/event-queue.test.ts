import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EventQueue } from "./event-queue.ts";

test("events come in the order of their time, and of their adding within one time", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5 })), (times) => {
      const queue = new EventQueue<number>();
      for (const [index, atMs] of times.entries()) queue.add(atMs, index);
      const taken = times.map(() => queue.take()!.event);
      const wanted = times.map((_, index) => index).sort((a, b) => times[a]! - times[b]! || a - b);
      deepEqual(taken, wanted);
      deepEqual(queue.take(), undefined);
    }),
  );
});
