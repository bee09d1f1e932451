import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import type { Job } from "@coxswain/domain";
import { WantedByNode } from "./wanted-by-node.ts";

const engine = { name: "wasm", identity: "wasm" };
const resources = { cpu: 1, memory: 64, gpu: 0 };

function job(id: string, kind: string, nodes: readonly string[]): Job {
  const placement = nodes.map((nodeId, at) => ({ workerId: `${id}-w${at}`, nodeId }));
  return { id, engine, placement, state: { kind }, spec: { resources } } as unknown as Job;
}

function listsOf(wanted: WantedByNode): Record<string, string[]> {
  const brief = (one: { readonly workerId: string; readonly isLeaving?: boolean }) =>
    `${one.workerId}${one.isLeaving ? " leaves" : ""}`;
  return Object.fromEntries([...wanted.lists()].map(([node, list]) => [node, list.map(brief)]));
}

test("jobs that hold a placement stand on their nodes, and leave when they stop or end", () => {
  const wanted = new WantedByNode();
  const placed = job("a", "placed", ["n1", "n2", "n1"]);
  wanted.setJob(job("a", "queued", []));
  wanted.setJob(placed);
  wanted.setJob(job("b", "running", ["n1"]));
  deepEqual(listsOf(wanted), { n1: ["a-w0", "a-w2", "b-w0"], n2: ["a-w1"] });
  wanted.setJob({ ...placed, state: { kind: "stopping" } as never });
  deepEqual(listsOf(wanted), { n1: ["b-w0", "a-w0 leaves", "a-w2 leaves"], n2: ["a-w1 leaves"] });
  wanted.setJob(job("b", "succeeded", ["n1"]));
  wanted.setJob(job("a", "suspended", []));
  deepEqual(listsOf(wanted), {});
});

test("a node of which nothing has changed keeps its list", () => {
  const wanted = new WantedByNode();
  wanted.setJob(job("a", "running", ["n1"]));
  const before = wanted.lists().get("n1");
  wanted.setJob(job("b", "running", ["n2"]));
  equal(wanted.lists().get("n1"), before);
});
