import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { type ClusterFacts, decidePreFlight } from "./pre-flight.ts";

const node = { isReady: true, gpus: 8 };
const good: ClusterFacts = {
  version: "v1.35.4",
  storageClasses: [{ name: "nfs", isDefault: true }],
  nodes: [node, node, node],
  forbidden: [],
};

const cases: Record<string, readonly [Partial<ClusterFacts>, readonly string[]]> = {
  "a cluster with everything": [{}, []],
  "too old": [{ version: "v1.24.0" }, ["version failed"]],
  "not the tested one": [{ version: "v1.33.1-gke.1" }, ["version warning"]],
  "no version that can be read": [{ version: "" }, ["version failed"]],
  "one machine": [{ nodes: [node] }, ["nodes warning"]],
  "nobody is ready": [{ nodes: [{ ...node, isReady: false }] }, ["nodes failed"]],
  "no default class": [{ storageClasses: [{ name: "a", isDefault: false }] }, ["storage warning"]],
  "no class": [{ storageClasses: [] }, ["storage warning"]],
  "no GPU": [{ nodes: [node, node, node].map((one) => ({ ...one, gpus: 0 })) }, ["gpus warning"]],
  "nodes and classes that may not be seen": [
    { nodes: undefined, storageClasses: undefined },
    ["nodes warning", "storage warning", "gpus warning"],
  ],
  "a right that lacks": [{ forbidden: ["create clusterroles"] }, ["rights failed"]],
};
for (const [name, [facts, want]] of Object.entries(cases))
  test(name, () =>
    deepEqual(
      decidePreFlight({ ...good, ...facts })
        .filter(({ verdict }) => verdict !== "ok")
        .map((check) => `${check.name} ${check.verdict}`),
      want,
    ),
  );
