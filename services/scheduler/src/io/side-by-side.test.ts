import { deepEqual, rejects } from "node:assert/strict";
import { test } from "node:test";
import { sideBySide } from "./side-by-side.ts";

test("as many at once as may be, in order", async () => {
  const story: string[] = [];
  const gates = [0, 1, 2].map(() => Promise.withResolvers<void>());
  const done = sideBySide([0, 1, 2], 2, async (index) => {
    story.push(`begin ${index}`);
    await gates[index]!.promise;
    story.push(`end ${index}`);
    gates[index + 1]?.resolve();
  });
  gates[0]!.resolve();
  await done;
  deepEqual(story, ["begin 0", "begin 1", "end 0", "end 1", "begin 2", "end 2"]);
});

test("after a failure none begins; what is on its way is waited for", async () => {
  const story: string[] = [];
  const slow = Promise.withResolvers<void>();
  const done = sideBySide(["slow", "bad", "late"], 2, async (name) => {
    story.push(`begin ${name}`);
    if (name === "bad") throw new Error("refused");
    await slow.promise;
    story.push(`end ${name}`);
  });
  setImmediate(() => slow.resolve());
  await rejects(done, /refused/);
  deepEqual(story, ["begin slow", "begin bad", "end slow"]);
});
