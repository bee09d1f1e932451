import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { podOf, type Template } from "./pod-of.ts";

const template: Template = {
  labels: { team: "vision", "app.kubernetes.io/component": "worker" },
  spec: {
    tolerations: [{ key: "gpu", operator: "Exists" }],
    affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } },
    containers: [
      {
        ...{ name: "worker", image: "i", env: [{ name: "GIVEN", value: "1" }] },
        resources: { limits: { "ephemeral-storage": "1Gi" } },
      },
    ],
  },
};
const worker = {
  ...{ jobId: "mnist-abc", workerId: "w1", nodeId: "n-1", nodeName: "n.1" },
  resources: { cpu: 0.5, memoryMib: 300, gpu: 2 },
  environment: { COXSWAIN_WORKER_ID: "w1" },
};
const owner = { name: "mnist", uid: "u1", labels: { "kueue.x-k8s.io/queue-name": "team-a" } };
// biome-ignore lint/suspicious/noExplicitAny: read by the names of the Kubernetes API
const pod = podOf(worker, template, "coxswain", owner) as any;

test("it carries its template's labels, its job's, and who it is", () => {
  deepEqual(pod.metadata.labels, {
    team: "vision",
    "kueue.x-k8s.io/queue-name": "team-a",
    "app.kubernetes.io/component": "worker",
    "coxswain.dev/job": "mnist-abc",
    "coxswain.dev/worker": "w1",
  });
  equal(pod.metadata.name, "mnist-abc-w1");
});

test("it belongs to its TrainingJob, and goes with it", () => {
  const [reference] = pod.metadata.ownerReferences;
  deepEqual([reference.kind, reference.name, reference.uid], ["TrainingJob", "mnist", "u1"]);
});

test("its node is a requirement, not a binding: admission and gates are the cluster's", () => {
  equal(pod.spec.nodeName, undefined);
  const { nodeAffinity } = pod.spec.affinity;
  deepEqual(nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution, []);
  deepEqual(nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms, [
    { matchFields: [{ key: "metadata.name", operator: "In", values: ["n.1"] }] },
  ]);
});

test("memory and GPUs are limits, cores a request; what the template adds stays", () => {
  deepEqual(pod.spec.containers[0].resources, {
    requests: { cpu: "500m", memory: "300Mi", "nvidia.com/gpu": "2" },
    limits: { "ephemeral-storage": "1Gi", memory: "300Mi", "nvidia.com/gpu": "2" },
  });
});

test("it ends once: whoever replaces it has another id", () => {
  equal(pod.spec.restartPolicy, "Never");
  deepEqual(pod.spec.containers[0].env, [
    { name: "GIVEN", value: "1" },
    { name: "COXSWAIN_WORKER_ID", value: "w1" },
  ]);
});
