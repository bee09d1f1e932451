import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { ShardGradient } from "./shard-gradient.ts";
import { Subtrees } from "./subtrees.ts";

const parameters = new Float32Array(1);

test("an update of several steps has the mean of their gradients, added in their order", () => {
  const asked: string[] = [];
  const terms = [2 ** 24, 1, 1];
  const program = {
    gradient: ({ step }: { readonly step: number }, into: Float32Array) => {
      into.set([terms[step - 5]!, step]);
    },
  };
  const feed = {
    at: <Result>(place: { readonly step: number; readonly shard: number }, work: () => Result) => {
      asked.push(`${place.step}.${place.shard}`);
      return work();
    },
  };
  const shard = new ShardGradient(program as never, feed);
  const out = new Float32Array(2);
  shard.derive({ step: 5, steps: 3 }, 2, parameters, out);
  deepEqual(asked, ["5.2", "6.2", "7.2"]);
  // In float32 the ones are lost, one after the other: another order would keep them.
  const third = Math.fround(1 / 3);
  deepEqual([...out], [Math.fround(2 ** 24 * third), Math.fround(18 * third)]);
  shard.derive({ step: 6, steps: 1 }, 2, parameters, out);
  deepEqual([...out], [1, 6]);
});

test("sums of one batch are none of another that begins at the same step", () => {
  const subtrees = new Subtrees(4);
  subtrees.startStep(8, 1);
  deepEqual([subtrees.isOf(8, 1), subtrees.isOf(8, 2), subtrees.isOf(9, 1)], [true, false, false]);
});
