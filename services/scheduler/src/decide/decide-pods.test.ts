import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import type { ClusterPod, PodState } from "./cluster.ts";
import { decidePods, type PodsInput, type WantedPod } from "./decide-pods.ts";

const nowMs = 1_000_000;
const seconds = 1000;
const wanted: WantedPod = { jobId: "j", workerId: "w1", nodeId: "n1" };
const owner = { name: "mnist", uid: "u", labels: {} };
const running: PodState = { kind: "running" };
const ended = (exitCode: number, reason = "Error", message = ""): PodState => ({
  ...{ kind: "ended", exitCode, reason, message },
});
const waiting = (reason: string): PodState => ({ kind: "waiting", reason, message: "why" });

function pod(state: PodState, more: Partial<ClusterPod> = {}): ClusterPod {
  return {
    ...{ namespace: "coxswain", name: "j-w1", uid: "p", nodeName: "n1", state, isEnding: false },
    requests: { cpu: 1, memoryMib: 64, gpu: 0 },
    createdAtMs: nowMs - 60 * seconds,
    worker: { jobId: "j", workerId: "w1" },
    ...more,
  };
}

const empty: PodsInput<WantedPod> = {
  nowMs,
  ...{
    wanted: [],
    leaving: [],
    launched: new Set(),
    pods: [],
    createdAtMs: new Map(),
    missingAtMs: new Map(),
  },
  owners: new Map([["j", owner]]),
  placedAtMs: new Map([["j", nowMs]]),
  ...{ shutOutAtMs: new Map(), leftAtMs: new Map(), leavingNodes: new Set(), lostNodes: new Set() },
};

interface Case {
  readonly given: Partial<PodsInput<WantedPod>>;
  readonly want: readonly string[];
}

const present = (state: PodState, more: Partial<ClusterPod> = {}) => ({
  ...{ wanted: [wanted], launched: new Set(["w1"]), pods: [pod(state, more)] },
});
const lately = { createdAtMs: nowMs - 5 * seconds };

const cases: Record<string, Case> = {
  "a wanted worker gets a Pod that its job's object owns": {
    given: { wanted: [wanted] },
    want: ["create w1 of mnist"],
  },
  "a job's object is waited for": { given: { wanted: [wanted], owners: new Map() }, want: [] },
  "but training does not depend on it": {
    given: {
      ...{ wanted: [wanted], owners: new Map() },
      placedAtMs: new Map([["j", nowMs - 6 * seconds]]),
    },
    want: ["create w1 of nobody"],
  },
  "a Pod that was made just now is not missed": {
    given: {
      wanted: [wanted],
      launched: new Set(["w1"]),
      createdAtMs: new Map([["w1", nowMs - 1]]),
    },
    want: [],
  },
  "a launched worker without a Pod is lost: its id is never used again": {
    given: {
      ...{ wanted: [wanted], launched: new Set(["w1"]) },
      missingAtMs: new Map([["w1", nowMs - 3 * seconds]]),
    },
    want: ["lost w1 worker-failed: the worker's Pod is gone"],
  },
  "though not before its last word may have come": {
    given: {
      ...{ wanted: [wanted], launched: new Set(["w1"]) },
      missingAtMs: new Map([["w1", nowMs - seconds]]),
    },
    want: [],
  },
  "one that runs is left alone": { given: present(running), want: [] },
  "one that another controller gates is left alone, however long": {
    given: present({ kind: "gated" }),
    want: [],
  },
  "one that is told to end has its time": { given: present(running, { isEnding: true }), want: [] },
  "one that is not wanted is deleted": {
    given: { pods: [pod(running)] },
    want: ["delete j-w1: the job wants this worker no more"],
  },
  "one that has said that it leaves ends by itself": {
    given: { pods: [pod(running)], leftAtMs: new Map([["w1", nowMs - 5 * seconds]]) },
    want: [],
  },
  "if it does": {
    given: { pods: [pod(running)], leftAtMs: new Map([["w1", nowMs - 11 * seconds]]) },
    want: ["delete j-w1: the job wants this worker no more"],
  },
  "once is enough": { given: { pods: [pod(running, { isEnding: true })] }, want: [] },
  "on a lost machine it is deleted by force": {
    given: { pods: [pod(running, { isEnding: true })], lostNodes: new Set(["n1"]) },
    want: ["delete j-w1 by force: the job wants this worker no more"],
  },
  "a job that stops waits for its workers, and each end is told": {
    given: { leaving: [wanted], pods: [pod(ended(137))] },
    want: ["lost w1 worker-failed: exit code 137: Error"],
  },
  "also of one whose Pod is gone, or never was": {
    given: { leaving: [wanted], missingAtMs: new Map([["w1", nowMs - 3 * seconds]]) },
    want: ["left w1"],
  },
  "but not before its last word may have come": {
    given: { leaving: [wanted], missingAtMs: new Map([["w1", nowMs - seconds]]) },
    want: [],
  },
  "an ended one is kept for its log": { given: { pods: [pod(ended(0))] }, want: [] },
  "but not for ever": {
    given: { pods: [pod(ended(0), { createdAtMs: 0 })] },
    want: ["delete j-w1: its worker has ended"],
  },
  "code 0 is a worker that left": { given: present(ended(0)), want: ["left w1"] },
  "OOMKilled is memory": {
    given: present(ended(137, "OOMKilled")),
    want: ["lost w1 out-of-memory: the worker reached its memory limit"],
  },
  "137 alone is a kill": {
    given: present(ended(137)),
    want: ["lost w1 worker-failed: exit code 137: Error"],
  },
  "code 12 was shut out": {
    given: present(ended(12)),
    want: ["lost w1 stale-generation: its group went on without it"],
  },
  "a worker's own word counts": {
    given: present(ended(10, "Error", '{"error":{"code":"program-threw","message":"no"}}')),
    want: ["lost w1 program-threw: no"],
  },
  "a member that its group went on without is replaced in seconds": {
    given: { ...present(running), shutOutAtMs: new Map([["w1", nowMs - 4 * seconds]]) },
    want: [
      "lost w1 stale-generation: its group went on without it, and it has not ended by itself",
      "delete j-w1: its group went on without it, and it has not ended by itself",
    ],
  },
  "it has a moment to end by itself": {
    given: { ...present(running), shutOutAtMs: new Map([["w1", nowMs - seconds]]) },
    want: [],
  },
  "a node that will go soon is left in good order": {
    given: { ...present(running), leavingNodes: new Set(["n1"]) },
    want: ["delete j-w1: node n1 will go soon"],
  },
  "one that finds no room goes back to the queue, and counts as no loss": {
    given: present(waiting("Unschedulable")),
    want: ["left w1", "delete j-w1: the cluster has no room for it: why"],
  },
  "it has a while": { given: present(waiting("Unschedulable"), lately), want: [] },
  "an image that cannot be had is the job's error": {
    given: present(waiting("ImagePullBackOff"), { createdAtMs: 0 }),
    want: [
      "lost w1 worker-failed: its container cannot start: ImagePullBackOff: why",
      "delete j-w1: its container cannot start: ImagePullBackOff: why",
    ],
  },
};

function brief(action: ReturnType<typeof decidePods>[number]): string {
  switch (action.kind) {
    case "create":
      return `create ${action.wanted.workerId} of ${action.owner?.name ?? "nobody"}`;
    case "delete":
      return `delete ${action.pod.name}${action.isForced ? " by force" : ""}: ${action.reason}`;
    case "left":
      return `left ${action.wanted.workerId}`;
    case "lost":
      return `lost ${action.wanted.workerId} ${action.code}: ${action.message}`;
  }
}

for (const [name, { given, want }] of Object.entries(cases))
  test(name, () => deepEqual(decidePods({ ...empty, ...given }).map(brief), want));
