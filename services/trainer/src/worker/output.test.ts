import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import type { LogLine } from "@coxswain/bus";
import { passOnOutput } from "./output.ts";

test("what is written goes where it went, and on as whole lines", () => {
  const written: string[] = [];
  const lines: LogLine[] = [];
  const output = { write: (chunk: unknown) => written.push(String(chunk)) > 0 };
  const bus = { appendLog: (line: LogLine) => void lines.push(line) };
  passOnOutput(bus, { jobId: "j", workerId: "w", stream: "stdout" }, output as never, () => 7);
  for (const chunk of ["one\ntw", "o\n\n", "three"]) output.write(chunk);
  output.write(Buffer.from("!\n"));
  deepEqual(written, ["one\ntw", "o\n\n", "three", "!\n"]);
  deepEqual(
    lines.map(({ text }) => text),
    ["one", "two", "three!"],
  );
  deepEqual(lines[0], { jobId: "j", workerId: "w", stream: "stdout", timeMs: 7, text: "one" });
});
