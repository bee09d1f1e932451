/**
 * The scheduler with its Kubernetes launcher on a real API server, with the cluster's own scheduler
 * and controllers; kwok plays the nodes and the Pods, so workers here only seem to train.
 */
import { deepEqual, equal, match, notEqual, ok } from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Bus } from "@coxswain/bus";
import type { JobId, TrainingJob } from "@coxswain/domain";
import { startTestBus } from "@coxswain/embedded/testing";
import { type PodObject, pods, trainingJobs } from "@coxswain/kube";
import { playedNode, playedTemplate } from "../../scripts/lib/played-machines.ts";
import { openKubernetes } from "../../services/scheduler/src/io/kubernetes.ts";
import { runScheduler } from "../../services/scheduler/src/service.ts";
import { apply, connect, kubectl, root, skip, until } from "./cluster.ts";

const kube = connect;
const engine = "wasm test";

function jobOf(name: string, min: number, max: number, resources: object): TrainingJob {
  return {
    ...{ apiVersion: "coxswain.dev/v1", kind: "TrainingJob", metadata: { name } },
    spec: {
      ...{ program: `sha256:${"0".repeat(64)}`, data: "d", steps: 10, batchSize: 64, shards: 8 },
      ...{ workers: { min, max }, seed: 1, priority: 0, queue: "default", exchange: "exact" },
      resources: { cpu: 1, memory: 64, gpu: 0, ...resources },
      ...{ checkpoint: { everySteps: 5, keep: 1 }, stepTimeout: 10, engine: "auto" },
      parameters: {},
    },
  } as TrainingJob;
}

interface World {
  readonly namespace: string;
  readonly bus: Bus;
  /** Says what job-api would: the job in the log, and its object with its id. */
  submit(name: string, min: number, max: number, resources?: object): Promise<string>;
  pods(): Promise<PodObject[]>;
  /** Workers' Pods that run and are not told to end, as `worker@node`. */
  running(count: number): Promise<string[]>;
  /** Says what the job's only worker would: that it trains. A job that does not is given no more. */
  forms(jobId: string, worker: string): Promise<unknown>;
  node(name: string, spec?: object, allocatable?: object): Promise<void>;
  /** The scheduler, until it is stopped. */
  schedule(): { stop(): Promise<void> };
}

async function worldOf(t: TestContext, name: string): Promise<World> {
  const { bus } = await startTestBus(t);
  const namespace = `launcher-${name}`;
  const nodes = new Set<string>();
  const running = new Set<{ stop(): Promise<void> }>();
  await kubectl("apply", "-f", join(root, "k8s/base/training-jobs.yaml"));
  await kubectl("apply", "-f", join(root, "k8s/base/priority-classes.yaml"));
  await kubectl("create", "namespace", namespace);
  await apply(await playedTemplate(namespace));
  t.after(async () => {
    for (const one of running) await one.stop();
    await kubectl("delete", "namespace", namespace, "--wait=false");
    for (const node of nodes) await kubectl("delete", "node", node, "--wait=false");
  });
  const listPods = () => kube().list(pods, { namespace, labelSelector: "coxswain.dev/worker" });
  return {
    ...{ namespace, bus, pods: listPods },
    submit: async (job, min, max, resources = {}) => {
      const jobId = `${job}-1`;
      const document = jobOf(job, min, max, resources);
      const payload = { job: document };
      await kube().create(trainingJobs, { ...document, metadata: { name: job, namespace } });
      await kubectl(
        ...["-n", namespace, "patch", "tj", job, "--subresource=status", "--type=merge"],
        ...["-p", JSON.stringify({ status: { jobId } })],
      );
      const common = { jobId: jobId as JobId, id: "s", source: "job-api" } as const;
      await bus.append({ ...common, name: "job.submitted", payload });
      return jobId;
    },
    running: (count) =>
      until(`${count} workers run`, async () => {
        const alive = (await listPods()).filter(
          ({ metadata, status }) =>
            metadata.deletionTimestamp === undefined && status?.phase === "Running",
        );
        const seen = alive.map(({ metadata, spec }) => `${metadata.name}@${spec.nodeName}`);
        return seen.length === count && seen.sort();
      }),
    forms: (jobId, worker) => {
      const workerId = nameOf(worker).slice(jobId.length + 1);
      const member = { workerId, nodeId: nodeOf(worker), shardFrom: 0, shardTo: 8 };
      const common = { jobId: jobId as JobId, id: "f", source: "trainer" } as const;
      const payload = { generation: 1, fromStep: 0, cause: "start" as const, members: [member] };
      return bus.append({ ...common, name: "training.generation-formed", payload });
    },
    node: async (node, spec = {}, allocatable = {}) => {
      nodes.add(node);
      await apply(playedNode(node, namespace, { spec, allocatable }));
      await kubectl("wait", "--for=condition=Ready", `node/${node}`, "--timeout=60s");
    },
    schedule: () => {
      const stop = new AbortController();
      const ports = { bus, signal: stop.signal, now: Date.now, log: () => undefined };
      const options = { namespace, templateName: "worker", engine, workerEnvironment: { A: "b" } };
      const done = runScheduler(
        {
          ...ports,
          openMachines: (onChange) => openKubernetes({ ...ports, kube: kube() }, options, onChange),
        },
        { cycleIntervalMs: 200, leaseTtlMs: 3000, nodeTimeoutMs: 60_000 },
      );
      const one = {
        stop: async () => {
          stop.abort();
          await done;
          running.delete(one);
        },
      };
      running.add(one);
      return one;
    },
  };
}

/**
 * Nobody plays this node's kubelet any more: its lease is somebody else's, who never renews it. Without
 * its annotation kwok would go on to renew it.
 */
async function silence(node: string): Promise<void> {
  const renewTime = new Date().toISOString().replace("Z", "000Z");
  const spec = { holderIdentity: "nobody", leaseDurationSeconds: 3600, renewTime };
  const patch = ["--type=merge", "-p", JSON.stringify({ spec })];
  await kubectl("-n", "kube-node-lease", "patch", "lease", node, ...patch);
}

const forced = ["--force", "--grace-period=0", "--wait=false"];
const nameOf = (worker: string) => worker.split("@")[0]!;
const nodeOf = (worker: string) => worker.split("@")[1]!;

test("a gang becomes Pods where it was placed, with what they need and whose they are", {
  skip,
}, async (t) => {
  const world = await worldOf(t, "gang");
  await world.node("gang-a");
  world.schedule();
  await world.submit("gang", 2, 2, { gpu: 4 });
  const workers = await world.running(2);
  deepEqual(workers.map(nodeOf), ["gang-a", "gang-a"]);
  const [pod] = await world.pods();
  const [container] = pod!.spec.containers;
  deepEqual(container!.resources, {
    limits: { memory: "64Mi", "nvidia.com/gpu": "4" },
    requests: { cpu: "1", memory: "64Mi", "nvidia.com/gpu": "4" },
  });
  const [owner] = pod!.metadata.ownerReferences!;
  deepEqual([owner!.kind, owner!.name], ["TrainingJob", "gang"]);
  await kubectl("-n", world.namespace, "delete", "tj", "gang");
  await until("the cluster's garbage collector takes a deleted job's Pods", async () =>
    (await world.pods()).every(({ metadata }) => !workers.map(nameOf).includes(metadata.name)),
  );
});

test("a Pod that is deleted by force is replaced under another name", { skip }, async (t) => {
  const world = await worldOf(t, "deleted");
  await world.node("deleted-a");
  world.schedule();
  await world.submit("deleted", 1, 1);
  const [first] = await world.running(1);
  await kubectl("-n", world.namespace, "delete", "pod", nameOf(first!), ...forced);
  const [second] = await until("another one runs", async () => {
    const now = await world.running(1);
    return now[0] !== first && now;
  });
  notEqual(second, first);
});

test("a scheduler that starts again finds its Pods, and those that went meanwhile", {
  skip,
}, async (t) => {
  const world = await worldOf(t, "restart");
  await world.node("restart-a");
  const first = world.schedule();
  await world.submit("restart", 3, 3);
  const before = await world.running(3);
  await first.stop();
  await kubectl("-n", world.namespace, "delete", "pod", nameOf(before[0]!), ...forced);
  world.schedule();
  const after = await until("three run again", async () => {
    const now = await world.running(3);
    return !now.includes(before[0]!) && now;
  });
  deepEqual(
    after.filter((worker) => before.includes(worker)),
    before.slice(1),
  );
});

test("others' Pods come first: what they hold is no room, and what they need they get", {
  skip,
}, async (t) => {
  const world = await worldOf(t, "online");
  await world.node("online-a");
  const online = (name: string, cpu: string) =>
    apply({
      ...{ apiVersion: "v1", kind: "Pod", metadata: { name, namespace: world.namespace } },
      spec: {
        ...{ priorityClassName: "coxswain-service", tolerations: [{ operator: "Exists" }] },
        nodeSelector: { "kubernetes.io/hostname": "online-a" },
        containers: [{ name: "c", image: "i", resources: { requests: { cpu } } }],
      },
    });
  await online("first", "2");
  await kubectl(
    "-n",
    world.namespace,
    "wait",
    "--for=condition=Ready",
    "pod/first",
    "--timeout=60s",
  );
  world.schedule();
  const jobId = await world.submit("batch", 1, 4);
  const [worker] = await world.running(1);
  await world.forms(jobId, worker!);
  await world.running(2);
  await online("second", "1500m");
  await kubectl(
    "-n",
    world.namespace,
    "wait",
    "--for=condition=Ready",
    "pod/second",
    "--timeout=60s",
  );
  await world.running(0);
  await kubectl("-n", world.namespace, "delete", "pod", "first", ...forced);
  // Placed anew it begins with its least, and is given more once it trains.
  await until("it runs again", async () =>
    (await world.pods()).some(
      ({ metadata, status }) =>
        metadata.deletionTimestamp === undefined && status?.phase === "Running",
    ),
  );
});

test("a cordoned node takes nobody new; a termination notice moves those that are there", {
  skip,
}, async (t) => {
  const world = await worldOf(t, "leaving");
  await world.node("leaving-a");
  world.schedule();
  await world.submit("leaving", 2, 2);
  await world.running(2);
  await kubectl("cordon", "leaving-a");
  await world.node("leaving-b");
  const [one] = await world.running(2);
  await kubectl("-n", world.namespace, "delete", "pod", nameOf(one!), ...forced);
  const spread = await until("the new one is elsewhere", async () => {
    const now = await world.running(2);
    return now.some((worker) => nodeOf(worker) === "leaving-b") && now;
  });
  deepEqual(spread.map(nodeOf).sort(), ["leaving-a", "leaving-b"]);
  await kubectl("taint", "node", "leaving-a", "coxswain.dev/leaving=:NoSchedule");
  await until("both are elsewhere", async () =>
    (await world.running(2)).every((worker) => nodeOf(worker) === "leaving-b"),
  );
});

test("an evicted Pod is replaced", { skip }, async (t) => {
  const world = await worldOf(t, "evicted");
  await world.node("evicted-a");
  world.schedule();
  await world.submit("evicted", 1, 1);
  const [first] = await world.running(1);
  const filter = "--pod-selector=coxswain.dev/worker";
  await kubectl("drain", "evicted-a", filter, "--force", "--timeout=60s");
  await world.node("evicted-b");
  const [second] = await world.running(1);
  notEqual(nameOf(second!), nameOf(first!));
  equal(nodeOf(second!), "evicted-b");
});

test("a lost node's workers are placed elsewhere, and their Pods do not linger", {
  skip,
}, async (t) => {
  const world = await worldOf(t, "lost");
  await world.node("lost-a");
  world.schedule();
  await world.submit("lost", 2, 2);
  const before = await world.running(2);
  await world.node("lost-b");
  await silence("lost-a");
  await until("both run elsewhere", async () =>
    (await world.running(2)).every((worker) => nodeOf(worker) === "lost-b"),
  );
  await until("the old ones are gone", async () =>
    (await world.pods()).every(({ metadata }) => !before.map(nameOf).includes(metadata.name)),
  );
});

test("a quota refuses: the job's object says so, and when there is room its workers come", {
  skip,
}, async (t) => {
  const world = await worldOf(t, "quota");
  await world.node("quota-a");
  await kubectl("-n", world.namespace, "create", "quota", "none", "--hard=pods=0");
  world.schedule();
  await world.submit("quota", 1, 1);
  const told = await until("an Event says so", async () => {
    const text = await kubectl("-n", world.namespace, "get", "events", "-o", "json");
    const { items } = JSON.parse(text) as { items: { reason: string; message: string }[] };
    return items.find(({ reason }) => reason === "PodRefused");
  });
  match(told.message, /exceeded quota: none/);
  await kubectl("-n", world.namespace, "delete", "quota", "none");
  await world.running(1);
});

test("a gated Pod waits for whoever gated it, as Kueue does, and is not taken for stuck", {
  skip,
}, async (t) => {
  const world = await worldOf(t, "gated");
  await world.node("gated-a");
  const template = (await playedTemplate(world.namespace)) as { template: { spec: object } };
  Object.assign(template.template.spec, {
    schedulingGates: [{ name: "kueue.x-k8s.io/admission" }],
  });
  await apply(template);
  world.schedule();
  await world.submit("gated", 1, 1);
  const [pod] = await until("it is there", async () => {
    const all = await world.pods();
    return all.length === 1 && all;
  });
  const gates = [{ op: "remove", path: "/spec/schedulingGates" }];
  const place = ["-n", world.namespace, "patch", "pod", pod!.metadata.name];
  equal(pod!.spec.nodeName, undefined);
  await kubectl(...place, "--type=json", "-p", JSON.stringify(gates));
  const [worker] = await world.running(1);
  ok(worker!.startsWith(pod!.metadata.name));
});
