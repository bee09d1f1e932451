import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { type Job, next } from "@coxswain/domain";
import { queuedJob } from "@coxswain/sim";
import { ForecastBook } from "./forecast-book.ts";

const nowMs = 1_000_000;
const raw = { expectedMs: nowMs + 100_000, earliestMs: nowMs + 80_000, latestMs: nowMs + 125_000 };
const waiting = (id: string) =>
  queuedJob({ id, atMs: 0, sequence: 1, spec: { workers: { min: 1, max: 1 } } });

const ended = (job: Job, atMs: number, state: "succeeded" | "failed"): Job => ({
  ...job,
  endedAtMs: atMs,
  state: { kind: state } as Job["state"],
});

const widthAfter = (book: ForecastBook, atMs: number) => {
  const { ends } = book.answer(waiting("fresh"), { starts: null, ends: raw }, new Map(), atMs);
  return ends!.latestMs - ends!.earliestMs;
};

/** A book whose forecasts of the end all came so much later than they said. */
function bookWith(factor: number, state: "succeeded" | "failed", count = 200): ForecastBook {
  const book = new ForecastBook();
  const jobs = new Map<string, Job>();
  for (let index = 0; index < count; index += 1) {
    const job = waiting(`j${index}`);
    book.answer(job, { starts: null, ends: raw }, jobs, nowMs);
    jobs.set(job.id, job);
  }
  const atMs = nowMs + 100_000 * factor;
  const over = new Map([...jobs].map(([id, job]) => [id, ended(job, atMs, state)]));
  book.answer(waiting("other"), { starts: null, ends: raw }, over, nowMs);
  return book;
}

test("an interval reaches further than the paces alone make it, around the same expectation", () => {
  const { starts, ends } = new ForecastBook().answer(
    waiting("a"),
    { starts: null, ends: raw },
    new Map(),
    nowMs,
  );
  equal(starts, null);
  equal(ends!.expectedMs, raw.expectedMs);
  ok(ends!.earliestMs <= raw.expectedMs && ends!.latestMs > raw.latestMs);
});

test("forecasts that come true make intervals narrower, those that miss make them wider", () => {
  const without = widthAfter(new ForecastBook(), nowMs);
  ok(widthAfter(bookWith(1, "succeeded", 900), nowMs) < without);
  ok(widthAfter(bookWith(8, "succeeded"), nowMs) > without);
});

test("jobs that failed say nothing of forecasts", () => {
  equal(widthAfter(bookWith(8, "failed"), nowMs), widthAfter(new ForecastBook(), nowMs));
});

test("a start is settled by the placement that came after the question", () => {
  const asked = waiting("a");
  const book = new ForecastBook();
  const answer = () => book.answer(asked, { starts: raw, ends: null }, new Map(), nowMs).starts!;
  const before = answer();
  for (let index = 0; index < 60; index += 1) {
    const job = waiting(`s${index}`);
    book.answer(job, { starts: raw, ends: null }, new Map([[job.id, job]]), nowMs);
    const placed = next(job, {
      name: "job.placed",
      jobId: job.id,
      sequence: 2,
      timeMs: nowMs + 2_000_000,
      payload: { workers: [{ workerId: "w", nodeId: "n" }], engine: { name: "e", identity: "e" } },
    });
    book.answer(asked, { starts: null, ends: null }, new Map([[job.id, placed]]), nowMs);
  }
  deepEqual([answer().expectedMs, answer().latestMs > before.latestMs], [raw.expectedMs, true]);
});
