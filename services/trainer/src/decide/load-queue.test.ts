import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type BatchPlace, batchKey, LoadQueue } from "./load-queue.ts";

const places = (...keys: string[]): BatchPlace[] =>
  keys.map((key) => {
    const [step, shard] = key.split(".").map(Number) as [number, number];
    return { step, shard };
  });

/** Takes all loads that may begin now: "place in slot". */
function loads(queue: LoadQueue): string[] {
  const all = [];
  for (let load = queue.next(); load !== undefined; load = queue.next())
    all.push(`${batchKey(load.place)} in ${load.slot}`);
  return all;
}

test("what comes first is read first, as far as there are slots", () => {
  const queue = new LoadQueue(2);
  deepEqual(loads(queue), []);
  queue.want(places("0.0", "0.1", "1.0"));
  deepEqual(loads(queue), ["0.0 in 1", "0.1 in 0"]);
  queue.release(1);
  deepEqual(loads(queue), ["1.0 in 1"]);
});

test("what is held is not read again; what was used is not wanted any more", () => {
  const queue = new LoadQueue(3);
  queue.want(places("0.0", "0.1"));
  loads(queue);
  queue.want(places("0.1", "1.0"));
  deepEqual(loads(queue), ["1.0 in 0"]);
  queue.release(1);
  deepEqual(loads(queue), []);
  queue.want(places("0.1"));
  deepEqual(loads(queue), ["0.1 in 1"]);
});

test("a slot holds one batch at a time, and each wanted batch comes once", () => {
  const place = fc.record({ step: fc.nat(3), shard: fc.nat(3) });
  fc.assert(
    fc.property(fc.array(place), fc.array(fc.nat(2)), (wanted, released) => {
      const queue = new LoadQueue(3);
      const held = new Map<number, string>();
      const load = () => {
        for (let next = queue.next(); next !== undefined; next = queue.next()) {
          equal(held.has(next.slot), false);
          equal([...held.values()].includes(batchKey(next.place)), false);
          held.set(next.slot, batchKey(next.place));
        }
      };
      for (const slot of released) {
        queue.want(wanted);
        load();
        queue.release(slot);
        held.delete(slot);
      }
      load();
    }),
  );
});
