/** What a real API server makes of the manifests: they apply, the definition validates, rights hold. */
import { deepEqual, equal, match, notEqual, ok, rejects } from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { before, describe, test } from "node:test";
import { promisify } from "node:util";
import {
  connectKube,
  type Kube,
  type KubeObject,
  pods,
  type Resource,
  trainingJobs,
} from "@coxswain/kube";
import { apply, connect, cox, folder, kubectl, namespace, root, skip, until } from "./cluster.ts";

const run = promisify(execFile);
const overlay = (name: string) => join(root, "k8s/overlays", name);
const program = `sha256:${"0".repeat(64)}`;

/** What is looked at here is the objects: where there is a node, no service shall run on it. */
async function applyAtRest(): Promise<void> {
  await kubectl("apply", "-k", overlay("dev"));
  const all = ["deployments,statefulsets", "--all", "--replicas=0"];
  await kubectl("-n", namespace, "scale", ...all);
}

const job = (spec: object) => ({
  apiVersion: "coxswain.dev/v1",
  kind: "TrainingJob",
  metadata: { name: "judged", namespace },
  spec: { program, steps: 10, workers: { min: 1, max: 4 }, ...spec },
});

describe("manifests on a real API server", { skip }, () => {
  before(applyAtRest);

  for (const name of ["dev", "production"])
    test(`${name} applies, and nothing is warned of`, async () => {
      const place = join(folder, `overlay-${name}`);
      const own = `${namespace}-${name}`;
      await mkdir(place);
      // In a namespace of its own, since a claim's size and class cannot be changed.
      const kustomization = { namespace: own, resources: [relative(place, overlay(name))] };
      await writeFile(join(place, "kustomization.yaml"), JSON.stringify(kustomization));
      await kubectl("create", "namespace", own);
      // A warning goes to the same place as the answer.
      const command = `kubectl apply -k ${place} --dry-run=server 2>&1`;
      const text = await run("sh", ["-c", command]).then(({ stdout }) => stdout);
      await kubectl("delete", "namespace", own, "--wait=false");
      const known =
        / (unchanged|configured|created) \(server dry run\)$|last-applied-configuration/;
      deepEqual(
        text.split("\n").filter((line) => line !== "" && !known.test(line)),
        [],
      );
    });

  const refused: Record<string, readonly [object, RegExp]> = {
    "no end": [{ steps: undefined }, /exactly one of epochs and steps/],
    "two ends": [{ epochs: 1 }, /exactly one of epochs and steps/],
    "more at least than at most": [{ workers: { min: 5, max: 4 } }, /min is more than workers.max/],
    "shards that are no power of two": [{ shards: 12, batchSize: 60 }, /power of two/],
    "fewer shards than workers": [{ shards: 2 }, /each worker needs a shard/],
    "a batch that shards do not divide": [{ shards: 8, batchSize: 63 }, /multiple of shards/],
    "no workers": [{ workers: { min: 0, max: 4 } }, /greater than or equal to 1/],
    "no core": [{ resources: { cpu: 0 } }, /greater than 0/],
    "a program that is no hash": [{ program: "mnist.ts" }, /should match/],
    "an engine that there is not": [{ engine: "gpu" }, /Unsupported value/],
  };
  for (const [name, [spec, why]] of Object.entries(refused))
    test(`a TrainingJob with ${name} is refused`, () =>
      rejects(connect().create(trainingJobs, job(spec)), why));

  test("a good one gets its defaults; what its arithmetic depends on stays", async () => {
    const kube = connect();
    const created = await kube.create(trainingJobs, job({ parameters: { rate: 0.1, name: "x" } }));
    const place = { namespace, name: "judged" };
    try {
      deepEqual(created.spec["resources"], { cpu: 1, gpu: 0, memory: 1024 });
      deepEqual(created.spec["parameters"], { rate: 0.1, name: "x" });
      await rejects(kube.merge(trainingJobs, place, { spec: { seed: 7 } }), /seed is fixed/);
      await rejects(kube.merge(trainingJobs, place, { spec: { shards: 8 } }), /shards is fixed/);
      equal((await kube.merge(trainingJobs, place, { spec: { replicas: 3 } })).spec.replicas, 3);
      const finalizers = { metadata: { finalizers: [] } };
      await kube.merge(trainingJobs, place, finalizers);
    } finally {
      await kube.delete(trainingJobs, place);
    }
  });

  test("server-side apply: who does not own a field may not change it unless by force", async () => {
    const kube = connect();
    const named = (value: string) => ({
      ...{ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "owned", namespace } },
      data: { value },
    });
    const maps = { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps", isNamespaced: true };
    await kube.apply(maps, named("1"), { manager: "one" });
    await rejects(kube.apply(maps, named("2"), { manager: "two" }), /^AppError: \[conflict\]/);
    await kube.apply(maps, named("2"), { manager: "two", force: true });
    await kube.delete(maps, { namespace, name: "owned" });
  });
});

/** Everything that an account may do: `verb resource.group`, in all namespaces with `everywhere`. */
const rights: Record<string, readonly string[]> = {
  scheduler: [
    ...["create pods", "delete pods", "create events.events.k8s.io"],
    ...["get", "list", "watch"].flatMap((verb) => [
      ...[`${verb} pods`, `${verb} podtemplates`, `${verb} trainingjobs.coxswain.dev`],
      ...[`${verb} pods everywhere`, `${verb} nodes everywhere`],
    ]),
  ],
  "job-api": [
    ...["get", "list", "watch", "create", "patch"].map(
      (verb) => `${verb} trainingjobs.coxswain.dev`,
    ),
    "patch trainingjobs/status.coxswain.dev",
  ],
  ...{ worker: [], autoscaler: [], checkpoint: [], nats: [] },
};
const verbs = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
const resources = [
  ...["pods", "pods/exec", "pods/log", "pods/eviction", "pods/status", "podtemplates", "secrets"],
  ...["configmaps", "serviceaccounts/token", "persistentvolumeclaims", "deployments.apps"],
  ...["trainingjobs.coxswain.dev", "trainingjobs/status.coxswain.dev", "events.events.k8s.io"],
  ...["trainingjobs/scale.coxswain.dev", "rolebindings.rbac.authorization.k8s.io"],
];
const everywhere = ["pods", "nodes", "secrets", "trainingjobs.coxswain.dev"];
const questions = verbs.flatMap((verb) => [
  ...resources.map((resource) => `${verb} ${resource}`),
  ...everywhere.map((resource) => `${verb} ${resource} everywhere`),
]);
const reviews: Resource<KubeObject & { readonly status: { readonly allowed: boolean } }> = {
  ...{ apiVersion: "authorization.k8s.io/v1", kind: "SubjectAccessReview" },
  ...{ plural: "subjectaccessreviews", isNamespaced: false },
};

/** Asks the server's own judge. */
async function may(kube: Kube, account: string, question: string): Promise<boolean> {
  const [verb, text = "", where] = question.split(" ");
  const [path = "", ...group] = text.split(".");
  const [resource, subresource] = path.split("/");
  const place = where === undefined ? { namespace } : {};
  const attributes = { verb, resource, subresource, group: group.join("."), ...place };
  const user = `system:serviceaccount:${namespace}:${account}`;
  const groups = ["system:serviceaccounts", "system:authenticated"];
  const { status } = await kube.create(reviews, {
    ...{ apiVersion: reviews.apiVersion, kind: reviews.kind, metadata: {} },
    spec: { user, groups, resourceAttributes: attributes },
  });
  return status.allowed;
}

describe("rights", { skip }, () => {
  before(applyAtRest);

  for (const [account, own] of Object.entries(rights))
    test(`${account} may do ${own.length} things, and no other of ${questions.length}`, async () => {
      const kube = connect();
      const found = await Promise.all(
        questions.map(async (question) => ((await may(kube, account, question)) ? [question] : [])),
      );
      deepEqual(found.flat().sort(), own.toSorted());
    });

  test("with one verb less the launcher's first Pod is refused, in words that name the verb", async () => {
    const kube = await as("scheduler");
    const pod = (name: string) => ({
      ...{ apiVersion: "v1", kind: "Pod", metadata: { name, namespace } },
      spec: restricted,
    });
    const found = await kubectl("-n", namespace, "get", "role", "scheduler", "-o", "json");
    const { rules } = JSON.parse(found);
    const role = { apiVersion: "rbac.authorization.k8s.io/v1", kind: "Role" };
    const grant = (given: object) =>
      apply({ ...role, metadata: { name: "scheduler", namespace }, rules: given });
    await grant([{ ...rules[0], verbs: ["delete"] }, ...rules.slice(1)]);
    await rejects(
      kube.create(pods, pod("refused")),
      /kubernetes-refused.*cannot create resource "pods"/,
    );
    await grant(rules);
    equal((await kube.create(pods, pod("made"))).metadata.name, "made");
    await kube.delete(pods, { namespace, name: "made" }, { gracePeriodSeconds: 0 });
  });

  test("a Pod that is not `restricted` is refused by the namespace", async () => {
    const spec = { containers: [{ name: "c", image: "i", securityContext: { privileged: true } }] };
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "p", namespace }, spec };
    await rejects(connect().create(pods, pod), /violates PodSecurity "restricted/);
  });
});

describe("before and after", { skip }, () => {
  test("`cox install --check` finds a cluster ready, and makes nothing in it", async () => {
    // Less Pods, which come and go by themselves; what other tests have left may still be going.
    const kinds = "crd,ns,deploy,statefulset,service,serviceaccount,role,configmap,secret,tj";
    const list = async () => (await kubectl("get", kinds, "-A", "-o", "name")).trim().split("\n");
    const before = await list();
    const { code, stdout } = await cox("install", "--check", "--json");
    const { checks } = JSON.parse(stdout) as { checks: { name: string; verdict: string }[] };
    deepEqual(
      checks.map(({ name }) => name),
      ["version", "nodes", "storage", "gpus", "rights"],
    );
    const failed = checks.filter(({ verdict }) => verdict === "failed");
    // Without a real node there may be none at all at this moment.
    const isReady = failed.every(({ name }) => name === "nodes");
    ok(isReady, stdout);
    equal(code, failed.length === 0 ? 0 : 1);
    const added = (await list()).filter((name) => !before.includes(name));
    deepEqual(added, []);
  });

  test("whoever may not install it is told what they may not, by name", async () => {
    await applyAtRest();
    const config = await configOf("checkpoint");
    const { code, stdout, stderr } = await cox(
      "install",
      "--check",
      "--json",
      "--kubeconfig",
      config,
    );
    notEqual(code, 0);
    const { checks } = JSON.parse(stdout) as { checks: { name: string; word: string }[] };
    match(checks.find(({ name }) => name === "rights")!.word, /create customresourcedefinitions/);
    match(stderr, /not ready for Coxswain/);
  });

  test("a namespace that was deleted under its jobs: they hold it, until `cox uninstall` lets them go", async () => {
    await applyAtRest();
    const metadata = { name: "held", namespace, finalizers: ["coxswain.dev/job"] };
    await connect().create(trainingJobs, { ...job({}), metadata });
    await kubectl("delete", "namespace", namespace, "--wait=false");
    const isHeld = async () => {
      const text = await kubectl("get", "namespace", namespace, "-o", "json");
      return /coxswain.dev\/job in 1 resource instances/.test(text);
    };
    await until("the namespace says what holds it", isHeld);
    const { code, stderr } = await cox("uninstall", "--lose-jobs", "--timeout", "1");
    equal(code, 0, stderr);
    const left = await kubectl("get", "namespace,crd,priorityclass,clusterrole", "-o", "name");
    deepEqual(left.match(/^namespace\/coxswain$|.*(coxswain\.dev|io\/coxswain).*/gm), null);
  });
});

const restricted = {
  ...{ nodeName: "nowhere", automountServiceAccountToken: false },
  securityContext: {
    runAsNonRoot: true,
    runAsUser: 1000,
    seccompProfile: { type: "RuntimeDefault" },
  },
  containers: [
    {
      ...{ name: "c", image: "i" },
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
    },
  ],
};

/** A client with an account's own token. */
const as = async (account: string): Promise<Kube> =>
  connectKube({ kubeconfig: await configOf(account) });

async function configOf(account: string): Promise<string> {
  const token = (await kubectl("-n", namespace, "create", "token", account)).trim();
  match(token, /^ey/);
  const config = JSON.parse(await kubectl("config", "view", "--raw", "-o", "json"));
  config.users[0].user = { token };
  const file = join(folder, `${account}.conf`);
  await writeFile(file, JSON.stringify(config));
  return file;
}
