/** A view of a kind on a real API server: it heals whatever becomes of its watch. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { join } from "node:path";
import { before, type TestContext, test } from "node:test";
import { buildKube, type Request, type Send, trainingJobs } from "@coxswain/kube";
import { KubeConfig } from "@kubernetes/client-node";
import { buildSend } from "../../libs/kube/src/request.ts";
import { connect, kubectl, root, skip, until } from "./cluster.ts";

const program = `sha256:${"0".repeat(64)}`;

function realSend(): Send {
  const config = new KubeConfig();
  config.loadFromDefault();
  return buildSend(config);
}

/** A namespace of the test's own, and its TrainingJobs followed through `send`. */
async function followed(t: TestContext, name: string, send: Send) {
  const stop = new AbortController();
  await kubectl("create", "namespace", name);
  t.after(async () => {
    stop.abort();
    await kubectl("delete", "namespace", name, "--wait=false");
  });
  const view = buildKube(send).follow(trainingJobs, {
    ...{ namespace: name, labelSelector: "own", keep: ({ spec }) => spec["steps"] },
    ...{ onChange: () => undefined, signal: stop.signal },
  });
  await view.synced;
  const { apiVersion, kind } = trainingJobs;
  const write = (key: string, steps: number) => {
    const metadata = { name: key, namespace: name, labels: { own: "" } };
    const spec = { program, workers: { min: 1, max: 1 }, steps };
    const job = { apiVersion, kind, metadata, spec };
    return connect().apply(trainingJobs, job, { manager: "test", force: true });
  };
  const shows = (want: Record<string, number>) =>
    until(`the view shows ${JSON.stringify(want)}`, async () => {
      const present = Object.fromEntries(
        [...view.objects].map(([key, value]) => [key.split("/")[1], value]),
      );
      return JSON.stringify(present) === JSON.stringify(want);
    });
  return { view, write, shows, remove: (key: string) => kubectl("-n", name, "delete", "tj", key) };
}

before(async () => {
  if (!skip) await kubectl("apply", "-f", join(root, "k8s/base/training-jobs.yaml"));
});

const isWatch = ({ path }: Request) => path.includes("watch=true");

test("what is made, changed and deleted shows, from one list", { skip }, async (t) => {
  const { view, write, shows, remove } = await followed(t, "follow-plain", realSend());
  await write("a", 1);
  await shows({ a: 1 });
  await write("a", 2);
  await shows({ a: 2 });
  await remove("a");
  await shows({});
  deepEqual([view.counts.lists, view.counts.watches], [1, 1]);
});

test("a place that the server has forgotten (410) is a new list", { skip }, async (t) => {
  const send = realSend();
  let isFirst = true;
  const forgetful: Send = (request) => {
    if (!isWatch(request) || !isFirst) return send(request);
    isFirst = false;
    return send({
      ...request,
      path: request.path.replace(/resourceVersion=\d+/, "resourceVersion=1"),
    });
  };
  const { view, write, shows } = await followed(t, "follow-expired", forgetful);
  await write("a", 1);
  await shows({ a: 1 });
  equal(view.counts.lists, 2);
});

test("a watch that breaks off goes on where it was: nothing that happened meanwhile is missed", {
  skip,
}, async (t) => {
  const send = realSend();
  const cut = new AbortController();
  const held = Promise.withResolvers<void>();
  let watches = 0;
  const fragile: Send = async (request) => {
    if (!isWatch(request)) return send(request);
    watches += 1;
    if (watches === 1) {
      const signal = AbortSignal.any([request.signal!, cut.signal]);
      return send({ ...request, signal });
    }
    await held.promise;
    return send(request);
  };
  const { view, write, shows, remove } = await followed(t, "follow-cut", fragile);
  await write("a", 1);
  await write("b", 1);
  await shows({ a: 1, b: 1 });
  cut.abort();
  await write("b", 2);
  await remove("a");
  held.resolve();
  await shows({ b: 2 });
  equal(view.counts.lists, 1);
  ok(view.counts.watches >= 2);
});
