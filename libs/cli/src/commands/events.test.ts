import { equal, match } from "node:assert/strict";
import { test } from "node:test";
import { logLine } from "./events.ts";

const line = (text: string) => JSON.stringify({ workerId: "w1-ab", text });

test("what a program writes is shown as it is", () => {
  equal(logLine(line("epoch 1: {loss: 2}")), "w1-ab epoch 1: {loss: 2}");
});

test("a structured line is shown as its sentence and its fields", () => {
  const text = JSON.stringify({
    level: 30,
    time: "2026-01-01T10:20:30.400Z",
    service: "worker",
    pid: 7,
    workerId: "w1-ab",
    generation: 3,
    msg: "generation formed",
  });
  match(
    logLine(line(text)),
    /^w1-ab \[10:20:30\.400\] INFO: generation formed \{"generation":3\}$/,
  );
});

test("a line that only looks structured is shown as it is", () => {
  equal(logLine(line("{not json")), "w1-ab {not json");
});
