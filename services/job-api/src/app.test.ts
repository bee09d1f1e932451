/** The API on a real nats-server: what it takes, what it refuses, what it streams. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { type TestContext, test } from "node:test";
import type { JobId } from "@coxswain/domain";
import fc from "fast-check";
import { startTestApp } from "./testing.ts";

const bundle = Buffer.from("export default 1;");
const sha256 = createHash("sha256").update(bundle).digest("hex");

function jobOf(spec: object = {}, metadata: object = {}) {
  return {
    apiVersion: "coxswain.dev/v1",
    kind: "TrainingJob",
    metadata: { name: "try", ...metadata },
    spec: {
      program: `sha256:${sha256}`,
      epochs: 1,
      batchSize: 64,
      workers: { min: 1, max: 2 },
      ...spec,
    },
  };
}

async function start(t: TestContext) {
  const { app, api, bus, stop } = await startTestApp(t);
  const upload = await app.inject({
    method: "PUT",
    url: `/v1/programs/${sha256}`,
    headers: { "content-type": "application/octet-stream" },
    payload: bundle,
  });
  equal(upload.statusCode, 204);
  const submit = (payload: unknown, headers: Record<string, string> = {}) =>
    app.inject({
      method: "POST",
      url: "/v1/jobs",
      headers: { "content-type": "application/json", ...headers },
      payload: payload as object,
    });
  return { app, api, bus, submit, stop };
}

test("a valid job is accepted with its defaults filled in, and can be read at once", async (t) => {
  const { app, submit } = await start(t);
  const response = await submit(jobOf());
  equal(response.statusCode, 201);
  const job = response.json();
  match(job.id, /^try-[0-9a-z]{6}$/);
  deepEqual(
    [
      job.spec.shards,
      job.spec.seed,
      job.spec.resources.cpu,
      job.spec.checkpoint.keep,
      job.spec.engine,
    ],
    [8, 1, 1, 2, "auto"],
  );
  equal((await app.inject(`/v1/jobs/${job.id}`)).json().state, "queued");
  equal((await app.inject("/v1/jobs?state=queued")).json().items.length, 1);
  equal((await app.inject("/v1/jobs?state=running")).json().items.length, 0);
});

test("a job may come as YAML", async (t) => {
  const { app } = await start(t);
  const payload = `apiVersion: coxswain.dev/v1\nkind: TrainingJob\nmetadata: {name: yaml}\nspec: {program: "sha256:${sha256}", steps: 5, workers: {min: 1, max: 1}}\n`;
  const response = await app.inject({
    method: "POST",
    url: "/v1/jobs",
    headers: { "content-type": "application/yaml" },
    payload,
  });
  equal(response.statusCode, 201, response.body);
});

test("every violation is named at once, with a pointer and a fix", async (t) => {
  const { submit } = await start(t);
  const response = await submit(
    jobOf(
      { steps: 4, shards: 12, batchSize: 50, workers: { min: 5, max: 3 }, colour: "red" },
      { name: "Not A Name" },
    ),
  );
  equal(response.statusCode, 422);
  match(String(response.headers["content-type"]), /^application\/problem\+json/);
  const { violations, code } = response.json();
  equal(code, "invalid-spec");
  const pointers = violations.map(({ pointer }: { pointer: string }) => pointer);
  for (const pointer of [
    "/metadata/name",
    "/spec",
    "/spec/workers/min",
    "/spec/shards",
    "/spec/batchSize",
  ])
    ok(pointers.includes(pointer), `${pointer} of ${pointers}`);
  ok(violations.every(({ detail }: { detail: string }) => detail.length > 10));
});

test("the same Idempotency-Key gives the same job; with another body it is refused", async (t) => {
  const { submit, app } = await start(t);
  const headers = { "idempotency-key": "k1" };
  const [first, second] = await Promise.all([submit(jobOf(), headers), submit(jobOf(), headers)]);
  deepEqual(
    [first.json().id, [first.statusCode, second.statusCode].sort()],
    [second.json().id, [200, 201]],
  );
  equal((await submit(jobOf({ seed: 9 }), headers)).statusCode, 422);
  equal((await app.inject("/v1/jobs")).json().items.length, 1);
});

test("requests move the job, illegal ones are refused with the reason", async (t) => {
  const { submit, app } = await start(t);
  const { id } = (await submit(jobOf())).json();
  equal((await app.inject({ method: "POST", url: `/v1/jobs/${id}/resume` })).statusCode, 409);
  equal(
    (await app.inject({ method: "PATCH", url: `/v1/jobs/${id}/workers`, payload: { workers: 9 } }))
      .statusCode,
    422,
  );
  const scaled = await app.inject({
    method: "PATCH",
    url: `/v1/jobs/${id}/workers`,
    payload: { workers: 4 },
  });
  deepEqual(
    [scaled.statusCode, scaled.json().workers.wanted, scaled.json().workers.max],
    [202, 4, 4],
  );
  equal(
    (await app.inject({ method: "POST", url: `/v1/jobs/${id}/cancel` })).json().state,
    "stopping",
  );
  equal((await app.inject({ method: "POST", url: "/v1/jobs/none/cancel" })).statusCode, 404);
});

test("a program that was not uploaded, or differs from its hash, is refused", async (t) => {
  const { submit, app } = await start(t);
  const response = await submit(jobOf({ program: `sha256:${"0".repeat(64)}` }));
  deepEqual([response.statusCode, response.json().code], [422, "program-not-found"]);
  const wrong = await app.inject({
    method: "PUT",
    url: `/v1/programs/${"0".repeat(64)}`,
    headers: { "content-type": "application/octet-stream" },
    payload: bundle,
  });
  equal(wrong.statusCode, 400);
});

/** Reads server-sent events until `count` with data have come; gives their ids. */
async function readEvents(
  url: string,
  count: number,
  headers: Record<string, string> = {},
): Promise<number[]> {
  const stop = new AbortController();
  const response = await fetch(url, { headers, signal: stop.signal });
  const ids: number[] = [];
  let text = "";
  for await (const chunk of response.body as ReadableStream<Uint8Array>) {
    text += new TextDecoder().decode(chunk);
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks)
      if (block.includes("event: ")) ids.push(Number(/^id: (\d+)$/m.exec(block)?.[1]));
    if (ids.length >= count) break;
  }
  stop.abort();
  return ids.slice(0, count);
}

test("an event stream resumes where it broke, without gap or repeat", async (t) => {
  const { submit, app, bus } = await start(t);
  const { id } = (await submit(jobOf())).json();
  const say = (from: number, to: number) =>
    Promise.all(
      Array.from({ length: to - from }, (_, i) =>
        bus.append({
          name: "checkpoint.rejected",
          jobId: id as JobId,
          id: `r${from + i}`,
          source: "checkpoint",
          payload: { generation: 1, step: from + i, reason: "test" },
        }),
      ),
    );
  await app.listen({ host: "127.0.0.1", port: 0 });
  const address = app.server.address() as { port: number };
  const url = `http://127.0.0.1:${address.port}/v1/jobs/${id}/events`;
  await say(0, 20);
  const first = await readEvents(url, 10);
  const rest = readEvents(url, 31, { "last-event-id": String(first.at(-1)) });
  await say(20, 40);
  const all = [...first, ...(await rest)];
  deepEqual(
    all,
    Array.from({ length: 41 }, (_, index) => index + 1),
  );
});

test("the published OpenAPI document is the one that is served", async (t) => {
  const { app } = await start(t);
  const served = (await app.inject("/openapi.json")).json();
  const path = new URL("../openapi.json", import.meta.url);
  if (process.env["UPDATE_OPENAPI"])
    await writeFile(path, `${JSON.stringify(served, undefined, 2)}\n`);
  deepEqual(JSON.parse(await readFile(path, "utf8")), served);
  equal(served.openapi, "3.1.0");
});

const scalar = fc.oneof(
  fc.string(),
  fc.double(),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
  fc.constant("__proto__"),
  fc.constant("\u0000"),
  fc.constant("\u202e"),
  fc.constant("a".repeat(5000)),
);
const value = fc.oneof(
  scalar,
  fc.array(scalar, { maxLength: 4 }),
  fc.dictionary(
    fc.oneof(fc.string(), fc.constantFrom("__proto__", "constructor", "min", "max")),
    scalar,
    { maxKeys: 4 },
  ),
);
const hostileField = fc.constantFrom(
  "program",
  "epochs",
  "steps",
  "batchSize",
  "workers",
  "shards",
  "seed",
  "resources",
  "priority",
  "queue",
  "checkpoint",
  "exchange",
  "engine",
  "timeLimit",
  "data",
  "parameters",
  "nonsense",
);
const nearlyValid = fc
  .tuple(hostileField, value)
  .map(([field, bad]) => JSON.stringify(jobOf({ [field]: bad })));
const deep = fc
  .integer({ min: 100, max: 5000 })
  .map((depth) => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`);
const hostileText = fc.oneof(
  nearlyValid,
  fc.json(),
  fc.string(),
  deep,
  fc.constantFrom(
    '{"__proto__":{"x":1}}',
    "1e400",
    '{"spec":1e999}',
    "[]",
    "null",
    '"',
    "{",
    '{"a":1,"a":2}',
    `${JSON.stringify(jobOf()).slice(0, -1)},"constructor":{"prototype":{}}}`,
  ),
);
const hostileYaml = fc.constantFrom(
  "a: &a [*a]",
  "a: &a [1]\nb: [*a,*a,*a]\n".repeat(30),
  "\t- x",
  "!!js/function 'x'",
  "a: b: c",
  "? ?",
  "--- a\n--- b",
  `&x a: ${"[".repeat(2000)}`,
);

test("hostile job files: never a 500, always a problem in words, nothing stored", async (t) => {
  const { app, bus } = await start(t);
  const isProblem = (response: { readonly statusCode: number; readonly body: string }) => {
    ok(
      response.statusCode >= 400 && response.statusCode < 500,
      `${response.statusCode}: ${response.body.slice(0, 300)}`,
    );
    const problem = JSON.parse(response.body);
    ok(
      typeof problem.title === "string" &&
        typeof problem.detail === "string" &&
        problem.status === response.statusCode &&
        typeof problem.fix === "string",
    );
  };
  const send = (contentType: string, payload: string) =>
    app.inject({
      method: "POST",
      url: "/v1/jobs",
      headers: { "content-type": contentType },
      payload,
    });
  await fc.assert(
    fc.asyncProperty(hostileText, async (text) => {
      const response = await send("application/json", text);
      if (response.statusCode !== 201) isProblem(response); // Some of the nearly valid ones are valid.
    }),
    { numRuns: 250 },
  );
  await fc.assert(
    fc.asyncProperty(hostileYaml, async (text) => isProblem(await send("application/yaml", text))),
    { numRuns: 30 },
  );
  isProblem(await send("application/json", `{"a":"${"x".repeat(300_000)}"}`));
  isProblem(await send("application/xml", "<a/>"));
  for (const event of await stored(bus)) equal(event, "job.submitted");
});

async function stored(bus: Awaited<ReturnType<typeof startTestApp>>["bus"]): Promise<string[]> {
  const names: string[] = [];
  for await (const item of bus.follow()) {
    if (item.kind === "caught-up") return names;
    names.push(item.event.name);
  }
  return names;
}
