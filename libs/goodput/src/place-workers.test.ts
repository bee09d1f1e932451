import { deepEqual, ok } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Placeable, placeWorkers } from "./place-workers.ts";

const job = (workers: number, ...present: number[]): Placeable => ({ workers, present });

const cases: Record<string, { jobs: Placeable[]; room: number[]; want: number[][] }> = {
  "who keeps its number keeps its place": {
    jobs: [job(2, 1, 1), job(1)],
    room: [2, 2],
    want: [[1, 1], [0]],
  },
  "a small job goes where little is left": {
    jobs: [job(3, 0, 0, 0), job(1)],
    room: [4, 4],
    want: [[0, 0, 0], [0]],
  },
  "a large job gets whole nodes and one for the rest": {
    jobs: [job(6)],
    room: [4, 4, 4],
    want: [[0, 0, 0, 0, 1, 1]],
  },
  "small jobs move together to make room for a whole one": {
    jobs: [job(1, 0), job(1, 1), job(4)],
    room: [4, 4],
    want: [[1], [1], [0, 0, 0, 0]],
  },
  "nobody moves when that would not help": {
    jobs: [job(3, 0, 0, 0), job(3, 1, 1, 1), job(2)],
    room: [4, 4],
    want: [
      [0, 0, 0],
      [1, 1, 1],
      [0, 1],
    ],
  },
  "a job that has none is nowhere": { jobs: [job(0, 0), job(1)], room: [1], want: [[], [0]] },
};

for (const [name, { jobs, room, want }] of Object.entries(cases))
  test(name, () => deepEqual(placeWorkers(jobs, room), want));

test("everybody gets the decided number, and no node holds more than it can", () => {
  const counts = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 })),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(counts, (pairs) => {
      const room = [4, 4, 4, 4];
      const fitting = (pick: (pair: readonly [number, number]) => number) => {
        let left = 16;
        return pairs.map((pair) => {
          const count = Math.min(left, pick(pair));
          left -= count;
          return count;
        });
      };
      const before = placeWorkers(
        fitting(([now]) => now).map((count) => job(count)),
        room,
      );
      const after = fitting(([, next]) => next).map((count, index) =>
        job(count, ...before[index]!),
      );
      const placed = placeWorkers(after, room);
      deepEqual(
        placed.map(({ length }) => length),
        after.map(({ workers }) => workers),
      );
      for (const node of room.keys()) ok(placed.flat().filter((one) => one === node).length <= 4);
    }),
  );
});
