import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { Gate, runMax } from "./gate.ts";

const noteOf = (loss: number) => ({ atMs: 1000 + loss, exchangeMs: 0.5, metrics: { loss } });

/** The two threads' views of one gate. */
function pair() {
  const control = new Gate(["loss"]);
  return { control, compute: new Gate(["loss"], control.buffer) };
}

test("who closes the gate knows what is committed, and nothing more is", () => {
  const { control, compute } = pair();
  control.open(1);
  equal(compute.commit(1, 0, noteOf(3)), true);
  equal(compute.commit(1, 1, noteOf(2)), true);
  equal(control.committed, 2);
  equal(control.close(), 2);
  equal(compute.commit(1, 2, noteOf(1)), false);
  equal(control.close(), 2);
  deepEqual([control.note(0), control.note(1)], [noteOf(3), noteOf(2)]);
});

test("a run that another one has followed commits nothing, wherever it stands", () => {
  const { control, compute } = pair();
  control.open(1);
  equal(compute.commit(1, 0, noteOf(3)), true);
  control.open(2);
  equal(compute.commit(1, 1, noteOf(2)), false);
  equal(compute.commit(1, 0, noteOf(2)), false);
  equal(control.committed, 0);
  equal(compute.commit(2, 0, noteOf(1)), true);
});

test("no update of a run is committed twice, or before the one before it", () => {
  const { control, compute } = pair();
  control.open(1);
  equal(compute.commit(1, 1, noteOf(2)), false);
  equal(compute.commit(1, 0, noteOf(3)), true);
  equal(compute.commit(1, 0, noteOf(3)), false);
});

test("tickets go round after a million runs, the longest run fits, and closing stays a bit", () => {
  const { control, compute } = pair();
  control.open(2 ** 20 + 5);
  equal(compute.commit(4, 0, noteOf(0)), false);
  for (let done = 0; done < runMax; done += 1)
    equal(compute.commit(2 ** 20 + 5, done, noteOf(done)), true);
  equal(control.close(), runMax);
  deepEqual(control.note(runMax - 1), noteOf(runMax - 1));
});
