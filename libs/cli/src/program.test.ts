/** The commands against a small API of their own: what they print, ask for, and refuse. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { CommanderError } from "commander";
import { ApiError } from "./io/api-client.ts";
import { buildProgram } from "./program.ts";

const job = {
  id: "mnist-mlp-1a2b3c",
  name: "mnist-mlp",
  state: "queued",
  reason: "WaitingForRoom",
  message: "2 workers need 4 cores, 2 are free",
  spec: { exchange: "fast" },
  priority: 0,
  queue: "default",
  workers: { now: 0, placed: 0, wanted: 4, min: 2, max: 4 },
  generation: 0,
  step: 0,
  steps: null,
  epoch: 0,
  samplesPerSecond: 0,
  metrics: {},
  evaluation: null,
  etaSeconds: null,
  submittedAt: "2026-01-01T00:00:00.000Z",
  conditions: [],
  members: [],
  engine: null,
  firstError: null,
  weightsSha256: null,
};

interface Run {
  readonly out: string;
  readonly requests: readonly string[];
  readonly error: unknown;
}

async function cox(t: TestContext, ...args: string[]): Promise<Run> {
  const requests: string[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    requests.push(`${request.method} ${request.url} ${Buffer.concat(chunks)}`.trim());
    const path = request.url?.split("?")[0];
    const isList = path === "/v1/jobs";
    const isKnown = isList || path?.startsWith(`/v1/jobs/${job.id}`);
    const problem = { code: "job-not-found", detail: "there is no such job", status: 404 };
    response.writeHead(isKnown ? 200 : 404, { "content-type": "application/json" });
    response.end(JSON.stringify(isList ? { items: [job] } : isKnown ? job : problem));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const lines: string[] = [];
  const program = buildProgram({
    out: (text) => lines.push(text),
    err: (text) => lines.push(text),
    isTerminal: false,
    nowMs: () => Date.parse("2026-01-01T00:01:05.000Z"),
    environment: {
      COXSWAIN_API: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      NO_COLOR: "1",
    },
    workingDir: "/",
    signal: new AbortController().signal,
  });
  const error = await program.parseAsync(args, { from: "user" }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return { out: lines.join("\n"), requests, error };
}

test("a job that waits says why", async (t) => {
  const { out, error } = await cox(t, "show", job.id);
  assert.equal(error, undefined);
  assert.match(out, /queued.*WaitingForRoom: 2 workers need 4 cores, 2 are free/);
  assert.match(out, /submitted 1m05s ago/);
  assert.match(out, /exchange {2}fast: the weights' last bits depend on who trains/);
});

test("a name stands for its newest job", async (t) => {
  const { requests } = await cox(t, "scale", "mnist-mlp", "3");
  assert.equal(requests.at(-1), `PATCH /v1/jobs/${job.id}/workers {"workers":3}`);
});

for (const verb of ["suspend", "resume", "cancel"]) {
  test(`${verb} asks for just that`, async (t) => {
    const { requests } = await cox(t, verb, job.id);
    assert.equal(requests.at(-1), `POST /v1/jobs/${job.id}/${verb}`);
  });
}

test("an unknown job comes with near names", async (t) => {
  const { error } = await cox(t, "show", "mnist-mpl");
  assert.ok(error instanceof ApiError);
  assert.match(error.problem.detail, /did you mean mnist-mlp/);
});

test("--json prints what the API said", async (t) => {
  const { out } = await cox(t, "jobs", "--json");
  assert.deepEqual(JSON.parse(out), { items: [job] });
});

const wrong: Record<string, string[]> = {
  "an unknown command": ["fly"],
  "an unknown option": ["jobs", "--nope"],
  "a missing argument": ["show"],
};
for (const [name, args] of Object.entries(wrong)) {
  test(`wrong usage: ${name}`, async (t) => {
    const { error, requests } = await cox(t, ...args);
    assert.ok(error instanceof CommanderError);
    assert.notEqual(error.exitCode, 0);
    assert.deepEqual(requests, []);
  });
}

test("every command has a help with an example", async (t) => {
  const program = buildProgram({
    out: () => undefined,
    err: () => undefined,
    isTerminal: false,
    nowMs: () => 0,
    environment: {},
    workingDir: "/",
    signal: new AbortController().signal,
  });
  const names = program.commands.map((command) => command.name());
  assert.ok(names.length >= 15);
  for (const name of names) {
    const { out, error } = await cox(t, name, "--help");
    assert.ok(error instanceof CommanderError && error.exitCode === 0);
    assert.match(out, new RegExp(`Examples:\\n {2}cox ${name}`));
    assert.match(out, /--json/);
  }
});

test("a number that is none is refused before anything is asked or started", async (t) => {
  const wrong = [
    [["scale", job.id, "abc"], /argument 'workers'.*It must be a whole number, 1 or more/],
    [["scale", job.id, "0"], /1 or more/],
    [["scale", job.id, "1.5"], /1 or more/],
    [["up", "--nodes", "0"], /'--nodes <n>'.*1 or more/],
    [["up", "--port", "70000"], /'--port <port>'.*0 to 65535/],
  ] as const;
  for (const [args, words] of wrong) {
    const { out, requests, error } = await cox(t, ...args);
    assert.ok(error instanceof CommanderError);
    assert.match(out, words);
    assert.deepEqual(requests, []);
  }
});
