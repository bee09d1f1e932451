/** What the manifests in `k8s/` promise, checked without a cluster. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { ensureNatsServer } from "@coxswain/embedded";
import { availableEngines } from "@coxswain/engine";
import { trainingJobDefinition } from "@coxswain/kube";
import { WorkerConfigSchema } from "../../services/trainer/src/worker/config.ts";
import {
  baseFiles,
  baseManifests,
  environmentOf,
  kustomization,
  type Manifest,
  render,
  root,
  schemaViolations,
  skipOverlays,
} from "./manifests.ts";
import { restrictedViolations } from "./restricted.ts";
import { imageEnvironment, serviceSettings, services } from "./services.ts";

const component = "app.kubernetes.io/component";
const ofKind = (manifests: readonly Manifest[], kind: string) =>
  manifests.filter((manifest) => manifest.kind === kind);
const workloadsOf = (manifests: readonly Manifest[]) =>
  manifests.filter(({ kind }) => ["Deployment", "StatefulSet", "DaemonSet"].includes(kind));
const workloads = workloadsOf(baseManifests);
const named = (manifests: readonly Manifest[], kind: string, name: string): Manifest =>
  ofKind(manifests, kind).find(({ metadata }) => metadata.name === name);
const containerOf = ({ spec }: Manifest): Manifest => spec.template.spec.containers[0];
const ours = workloads.filter(({ metadata }) => services.includes(metadata.name));
const workerPod = named(baseManifests, "PodTemplate", "worker").template;
/** Everything that makes Pods, with the Pods' own. */
const podsOf = (manifests: readonly Manifest[]): Manifest[] => [
  ...workloadsOf(manifests).map(({ spec }) => spec.template.spec),
  ...ofKind(manifests, "PodTemplate").map(({ template }) => template.spec),
];

test("the kustomization names each file once", () => {
  deepEqual([...kustomization.resources].sort(), [...baseFiles].sort());
});

test("the API's schemas know each field, and find one that they do not know", async () => {
  deepEqual((await Promise.all(baseManifests.map(schemaViolations))).flat(), []);
  const broken = structuredClone(named(baseManifests, "Deployment", "scheduler"));
  containerOf(broken).livenessProb = { periodSeconds: 5 };
  deepEqual(await schemaViolations(broken), [
    "Deployment scheduler: /spec/template/spec/containers/0/livenessProb is unknown",
    "Deployment scheduler: /spec/template/spec/containers/0/livenessProb/periodSeconds is unknown",
  ]);
});

test("nats-server and each service has one workload, but for trainers: those are the workers' Pods", () => {
  const names = ["nats", ...services.filter((name) => name !== "trainer")];
  deepEqual(workloads.map(({ metadata }) => metadata.name).sort(), names.sort());
  equal(workerPod.spec.containers[0].image, "coxswain/trainer");
});

test("the TrainingJob's definition says everything in the words of a structural schema", () => {
  const wrong: string[] = [];
  const look = (value: unknown, path: string): void => {
    if (typeof value !== "object" || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      // As numbers they are of a later JSON Schema.
      const isLater = /^exclusiveM/.test(key) && typeof inner !== "boolean";
      if (isLater || (key === "additionalProperties" && inner === false))
        wrong.push(`${path}.${key}`);
      look(inner, `${path}.${key}`);
    }
  };
  look(trainingJobDefinition(), "");
  deepEqual(wrong, []);
});

test("the TrainingJob's definition is the one that the schema makes", () => {
  const [definition] = ofKind(baseManifests, "CustomResourceDefinition");
  deepEqual(definition, JSON.parse(JSON.stringify(trainingJobDefinition())), "npm run definition");
});

test("the scheduler is told the engine that the workers' image has", async () => {
  const { env } = containerOf(named(baseManifests, "Deployment", "scheduler"));
  const told = env.find(({ name }: Manifest) => name === "WORKER_ENGINE").value;
  const [engine] = await availableEngines({ cacheDir: "/nowhere" });
  equal(told, engine!.text);
});

test("every Pod keeps to `restricted`, which the namespace enforces", () => {
  deepEqual(podsOf(baseManifests).flatMap(restrictedViolations), []);
  const [namespace] = ofKind(baseManifests, "Namespace");
  equal(namespace.metadata.labels["pod-security.kubernetes.io/enforce"], "restricted");
});

const broken: Record<string, readonly [(pod: Manifest) => void, string]> = {
  root: [(pod) => delete pod.securityContext.runAsNonRoot, "worker: runAsNonRoot"],
  "user 0": [(pod) => Object.assign(pod.securityContext, { runAsUser: 0 }), "worker: runAsUser"],
  "a host's folder": [
    (pod) => pod.volumes.push({ name: "host", hostPath: { path: "/" } }),
    "volume host",
  ],
  "the host's network": [(pod) => Object.assign(pod, { hostNetwork: true }), "hostNetwork"],
  "a capability": [
    (pod) => Object.assign(pod.containers[0].securityContext.capabilities, { add: ["SYS_ADMIN"] }),
    "worker: capabilities",
  ],
  "no seccomp": [(pod) => delete pod.securityContext.seccompProfile, "worker: seccompProfile"],
};
for (const [what, [change, violation]] of Object.entries(broken))
  test(`a Pod with ${what} breaks \`restricted\``, () => {
    const pod = structuredClone(workerPod.spec);
    change(pod);
    deepEqual(restrictedViolations(pod), [violation]);
  });

test("every container has a read-only root, three probes, requests and a memory limit", () => {
  for (const { metadata, spec } of workloads)
    for (const container of spec.template.spec.containers) {
      equal(container.securityContext.readOnlyRootFilesystem, true, metadata.name);
      for (const probe of ["startupProbe", "readinessProbe", "livenessProbe"])
        ok(container[probe] !== undefined, `${metadata.name}: ${probe}`);
      deepEqual(Object.keys(container.resources.requests).sort(), ["cpu", "memory"]);
      ok(container.resources.limits.memory !== undefined, metadata.name);
    }
});

test("a bus that is away takes a service out of service and restarts nobody", () => {
  for (const workload of ours) {
    const { livenessProbe, readinessProbe, ports } = containerOf(workload);
    equal(livenessProbe.httpGet.path, "/healthz");
    equal(readinessProbe.httpGet.path, "/readyz");
    const { containerPort } = ports.find(({ name }: Manifest) => name === "health");
    equal(String(containerPort), imageEnvironment(workload.metadata.name)["HEALTH_PORT"]);
  }
});

test("each has an account of its own; only those that ask Kubernetes have a token", () => {
  const pods = podsOf(baseManifests);
  const accounts = pods.map(({ serviceAccountName }) => serviceAccountName);
  equal(new Set(accounts).size, pods.length);
  deepEqual(
    ofKind(baseManifests, "ServiceAccount")
      .map(({ metadata }) => metadata.name)
      .sort(),
    accounts.toSorted(),
  );
  deepEqual(
    pods
      .filter(({ automountServiceAccountToken }) => automountServiceAccountToken)
      .map(({ serviceAccountName }) => serviceAccountName)
      .sort(),
    ["job-api", "scheduler"],
  );
});

test("rights are spelled out: what each may do, and nothing by a wildcard", () => {
  const rights = (kind: string, name: string) =>
    named(baseManifests, kind, name).rules.flatMap(({ resources, verbs }: Manifest) =>
      resources.map((resource: string) => `${resource}: ${verbs.join(" ")}`),
    );
  deepEqual(rights("Role", "scheduler"), [
    "pods: create delete",
    "podtemplates: get list watch",
    "trainingjobs: get list watch",
    "events: create",
  ]);
  deepEqual(rights("ClusterRole", "coxswain-scheduler"), [
    "nodes: get list watch",
    "pods: get list watch",
  ]);
  deepEqual(rights("Role", "job-api"), [
    "trainingjobs: get list watch create patch",
    "trainingjobs/status: patch",
  ]);
  equal(baseManifests.filter(({ kind }) => /Role$/.test(kind)).length, 3);
});

test("each setting of a worker's Pod is one that a worker reads", () => {
  for (const { name } of workerPod.spec.containers[0].env)
    ok(name in WorkerConfigSchema.properties, `a worker does not read ${name}`);
});

test("each setting is one that its service reads", () => {
  const [, shared] = kustomization.configMapGenerator;
  const common = shared.literals.map((literal: string) => literal.split("=")[0]);
  for (const workload of ours) {
    const { name } = workload.metadata;
    const own = (containerOf(workload).env ?? []).map((variable: Manifest) => variable.name);
    const known = serviceSettings(name);
    for (const setting of [...common, ...own, ...Object.keys(imageEnvironment(name))])
      ok(known.has(setting) || setting === "NODE_ENV", `${name} does not read ${setting}`);
  }
});

test("who stops in good order has the time for it", () => {
  const stopTimeoutMs = 10_000;
  for (const { terminationGracePeriodSeconds } of podsOf(baseManifests))
    ok(terminationGracePeriodSeconds * 1000 > stopTimeoutMs);
});

test("what runs twice or more is not taken away at once, but for workers", () => {
  const budgets = ofKind(baseManifests, "PodDisruptionBudget");
  const several = workloads.filter(({ spec }) => spec.replicas > 1);
  deepEqual(
    budgets.map(({ spec }) => spec.selector.matchLabels[component]).sort(),
    several.map(({ metadata }) => metadata.name).sort(),
  );
  for (const { spec } of budgets) equal(spec.maxUnavailable, 1);
});

test("selectors match their Pods", () => {
  for (const { metadata, spec } of workloads) {
    deepEqual(spec.selector.matchLabels, { [component]: metadata.name });
    equal(spec.template.metadata.labels[component], metadata.name);
  }
  const names = new Set(workloads.map(({ metadata }) => metadata.name));
  for (const { spec } of ofKind(baseManifests, "Service")) ok(names.has(spec.selector[component]));
});

const policy = (name: string) => named(baseManifests, "NetworkPolicy", name).spec;

test("by default nobody reaches anybody; the bus hears services and workers and nobody else", () => {
  deepEqual(policy("default-deny"), { podSelector: {}, policyTypes: ["Ingress", "Egress"] });
  const [clients, peers] = policy("nats").ingress;
  const speakers = services.map((name) => (name === "trainer" ? "worker" : name));
  deepEqual(clients.from[0].podSelector.matchExpressions[0].values.toSorted(), speakers.sort());
  deepEqual(clients.ports, [{ port: "client" }]);
  deepEqual(peers.from[0].podSelector.matchLabels, { [component]: "nats" });
  deepEqual(policy("bus-clients").podSelector, clients.from[0].podSelector);
});

test("gradients go between workers alone, and a worker reaches the bus and names besides", () => {
  const trainers = { podSelector: { matchLabels: { [component]: "worker" } } };
  const { ingress, egress } = policy("worker");
  deepEqual(
    [ingress.length, ingress[0].from, egress.length, egress[0].to],
    [1, [trainers], 1, [trainers]],
  );
});

const logPod = named(baseManifests, "StatefulSet", "nats");
const logEnvironment = environmentOf(containerOf(logPod), {
  POD_NAME: "nats-0",
  NATS_TOKEN: "1e5",
});

test("three nats-servers are told each other as routes", () => {
  const routes = Object.entries(logEnvironment).filter(([name]) => name.startsWith("ROUTE_"));
  const { replicas, serviceName } = logPod.spec;
  deepEqual(
    routes.map(([, route]) => route),
    Array.from({ length: replicas }, (_, n) => `"nats://peer:1e5@nats-${n}.${serviceName}:6222"`),
  );
});

test("nats-server, each service and each worker take the token from one Secret", () => {
  for (const { containers } of podsOf(baseManifests)) {
    const { valueFrom } = containers[0].env.find(({ name }: Manifest) => name === "NATS_TOKEN");
    deepEqual(valueFrom, { secretKeyRef: { name: "nats-token", key: "token" } });
  }
});

test("nats-server accepts each of its configurations, and each stores before it answers", async () => {
  const { path } = await ensureNatsServer({ environment: process.env });
  for (const folder of ["k8s/base", "k8s/overlays/dev", "deploy"]) {
    const file = join(root, folder, "nats-server.conf");
    const { status, stderr } = spawnSync(path, ["-t", "-c", file], {
      encoding: "utf8",
      env: { ...process.env, ...logEnvironment },
    });
    equal(status, 0, stderr);
    match(readFileSync(file, "utf8"), /sync_interval: always/);
  }
});

describe("overlays", { skip: skipOverlays }, () => {
  for (const overlay of ["dev", "production"])
    test(`${overlay}: valid, restricted, and with as many nats-servers as the log has replicas`, async () => {
      const manifests = render(overlay);
      deepEqual((await Promise.all(manifests.map(schemaViolations))).flat(), []);
      deepEqual(podsOf(manifests).flatMap(restrictedViolations), []);
      const settings = ofKind(manifests, "ConfigMap").find(({ data }) => data.NATS_URL).data;
      equal(Number(settings.NATS_REPLICAS), named(manifests, "StatefulSet", "nats").spec.replicas);
      for (const { containers } of podsOf(manifests))
        match(containers[0].image, /:[\w.-]+$/, "an image without a tag moves");
    });
});
