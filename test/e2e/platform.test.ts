/** The whole platform, real processes: every service killed once, failures told with their first cause. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { auditThroughApi, type FollowedEvent, followEvents } from "@coxswain/cli";
import { isRunning, liveWorkers } from "@coxswain/embedded";
import { fixture, startTestPlatform as start } from "./start-platform.ts";

/** A worker says that it has left, then ends; the test's time-out is the limit. */
async function nobodyLives(dataDir: string): Promise<void> {
  while ((await liveWorkers(dataDir)).length > 0) await new Promise(setImmediate);
}

/** A program file whose loss is `loss`, a JavaScript expression over tf, labels and outputs. */
async function programWith(dataDir: string, name: string, loss: string): Promise<string> {
  const path = join(dataDir, `${name}.mjs`);
  const text = `import { defineProgram, mnist, sgd, tf } from "@coxswain/program";
export default defineProgram({
  data: mnist,
  model: () => tf.sequential({ layers: [tf.layers.flatten({ inputShape: [28, 28, 1] }), tf.layers.dense({ units: 10 })] }),
  loss: (labels, outputs) => ${loss},
  optimizer: sgd({ learningRate: 0.01 }),
});\n`;
  await writeFile(path, text);
  return path;
}

test("each service is killed once in a run: the run ends with the bits of an undisturbed one", async (t) => {
  const { platform, api, run, isUnhurried, release } = await start(t);
  const undisturbed = await run(fixture, [
    "spec.steps=600",
    "spec.workers.min=1",
    "spec.workers.max=1",
    "spec.shards=8",
  ]);
  equal(undisturbed.last.name, "job.succeeded");
  const victims = ["scheduler", "checkpoint", "autoscaler", "trainer", "nats-server", "job-api"];
  const killed: string[] = [];
  const disturbed = await run(fixture, ["spec.steps=600", isUnhurried], async (event) => {
    if (event.name !== "training.progressed") return false;
    // One kill for each progress report.
    const victim = victims[killed.length];
    if (victim === undefined) await release();
    else {
      killed.push(victim);
      await platform.kill(victim);
    }
    return false;
  });
  deepEqual(killed, victims);
  equal(disturbed.last.name, "job.succeeded");
  equal(disturbed.last.payload.weightsSha256, undisturbed.last.payload.weightsSha256);
  const report = await auditThroughApi(api, disturbed.id);
  deepEqual([report.ok, report.stepsTwice, report.stepsSkipped], [true, 0, 0]);
});

test("suspended, resumed, scaled: the same bits, and a cancelled job leaves no worker", async (t) => {
  const { api, run, dataDir, isUnhurried, release } = await start(t);
  const whole = await run(fixture, []);
  const halted = await run(fixture, [isUnhurried], async (event) => {
    if (event.name === "training.progressed")
      await api.send("POST", `/v1/jobs/${event.jobId}/suspend`).catch(() => undefined);
    return event.name === "job.suspended";
  });
  equal(halted.last.name, "job.suspended");
  await nobodyLives(dataDir);
  await release();
  await api.send("PATCH", `/v1/jobs/${halted.id}/workers`, { workers: 3 });
  await api.send("POST", `/v1/jobs/${halted.id}/resume`);
  const after: FollowedEvent[] = [];
  for await (const event of followEvents(api, {
    jobId: halted.id,
    after: halted.last.sequence,
    follow: true,
    signal: new AbortController().signal,
  })) {
    after.push(event);
    if (event.name === "job.succeeded" || event.name === "job.failed") break;
  }
  equal(after.at(-1)!.name, "job.succeeded", JSON.stringify(after.at(-1)));
  equal(after.at(-1)!.payload.weightsSha256, whole.last.payload.weightsSha256);
  const cancelled = await run(fixture, ["spec.steps=100000"], async (event) => {
    if (event.name === "training.generation-formed")
      await api.send("POST", `/v1/jobs/${event.jobId}/cancel`).catch(() => undefined);
    return false;
  });
  equal(cancelled.last.name, "job.cancelled");
  await nobodyLives(dataDir);
});

test("a failing program fails its job with the first cause", async (t) => {
  const { api, run, dataDir } = await start(t);
  const failures: readonly (readonly [string, string, readonly string[], string, RegExp])[] = [
    [
      "throws",
      '(() => { throw new Error("no such layer"); })()',
      [],
      "program-threw",
      /no such layer/,
    ],
    ["nan", "tf.mul(tf.sum(outputs, -1), NaN)", [], "loss-not-finite", /loss of step 0 is NaN/],
    [
      "stuck",
      "(() => { for (;;); })()",
      ["spec.stepTimeout=1"],
      "program-stuck",
      /longer than 1 s/,
    ],
  ];
  for (const [name, loss, settings, code, message] of failures) {
    const { id, last } = await run(await programWith(dataDir, name, loss), settings);
    equal(last.name, "job.failed", name);
    equal(last.payload.error.code, code);
    match(last.payload.error.message, message);
    const shown = await api.get(`/v1/jobs/${id}`);
    deepEqual([shown.state, shown.error.code], ["failed", code]);
  }
  ok((await api.get("/readyz")).status === "ready");
});

test("stopping the platform leaves no process behind", async (t) => {
  const { platform, run, dataDir } = await start(t);
  await run(
    fixture,
    ["spec.steps=100000"],
    (event) => event.name === "training.generation-formed" && event.payload.members.length === 2,
  );
  const workers = await liveWorkers(dataDir);
  equal(workers.length, 2);
  const pids = [...platform.services, "nats-server"].map((name) => platform.pidOf(name)!);
  await platform.stop();
  deepEqual(pids.filter(isRunning), []);
  deepEqual(await liveWorkers(dataDir), []);
});

test("a worker that runs out of memory fails its job with that word", async (t) => {
  const { run, dataDir } = await start(t);
  const hungry = "(() => { const all = []; for (;;) all.push(new Array(1e5).fill(Math.E)); })()";
  const { last } = await run(await programWith(dataDir, "hungry", hungry), [
    "spec.resources.memory=128",
    "spec.workers.min=1",
    "spec.workers.max=1",
  ]);
  equal(last.name, "job.failed");
  equal(last.payload.error.code, "out-of-memory", JSON.stringify(last.payload));
});

interface Span {
  readonly traceId: string;
  readonly name: string;
}

/** What OTLP over HTTP brings, as JSON. */
interface Export {
  readonly resourceSpans: readonly { readonly scopeSpans: readonly { readonly spans: Span[] }[] }[];
  readonly resourceMetrics: readonly {
    readonly scopeMetrics: readonly { readonly metrics: { readonly name: string }[] }[];
  }[];
}

const spansOf = ({ resourceSpans = [] }: Partial<Export>) =>
  resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans));
const metricsOf = ({ resourceMetrics = [] }: Partial<Export>) =>
  resourceMetrics.flatMap(({ scopeMetrics }) =>
    scopeMetrics.flatMap(({ metrics }) => metrics.map(({ name }) => name)),
  );

/** A collector for OpenTelemetry over HTTP that keeps spans and the metrics' names. */
async function startCollector(t: TestContext) {
  const spans: Span[] = [];
  const metrics = new Set<string>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Partial<Export>;
      spans.push(...spansOf(body));
      for (const name of metricsOf(body)) metrics.add(name);
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => server.closeAllConnections());
  t.after(() => server.close());
  const address = server.address() as { readonly port: number };
  return { spans, metrics, url: `http://127.0.0.1:${address.port}` };
}

test("one trace shows a submission from HTTP through scheduling to the first step and the checkpoint; metrics follow the log", async (t) => {
  const collector = await startCollector(t);
  const { platform, run } = await start(t, { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
  const { last } = await run(fixture, []);
  equal(last.name, "job.succeeded");
  // Spans are exported in batches; the last ones when their process stops.
  await platform.stop();
  const submission = collector.spans.find(({ name }) => name === "POST /v1/jobs");
  ok(submission !== undefined, collector.spans.map(({ name }) => name).join());
  const names = collector.spans
    .filter(({ traceId }) => traceId === submission.traceId)
    .map(({ name }) => name);
  for (const name of ["decide place", "worker to its first step", "checkpoint part"])
    ok(names.includes(name), `${name} is not among ${names.join()}`);
  const want = [
    "http.server.request.duration",
    "coxswain.queue.wait.seconds",
    "coxswain.scheduler.decision.seconds",
    "coxswain.training.samples",
    "coxswain.checkpoint.bytes",
    "coxswain.event.lag.seconds",
  ];
  deepEqual(
    want.filter((name) => !collector.metrics.has(name)),
    [],
  );
});
