import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { ApiClient, ApiError } from "./api-client.ts";
import { type FollowedEvent, followEvents } from "./follow-events.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function serve(t: TestContext, handler: Handler): Promise<ApiClient> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return new ApiClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
}

const textOf = (sequence: number) =>
  `id: ${sequence}\nevent: job.queued\ndata: ${JSON.stringify({ name: "job.queued", jobId: "a-1", sequence, time: "2026-01-01T00:00:00.000Z", payload: {} })}\n\n`;

async function take(events: AsyncIterable<FollowedEvent>, count: number): Promise<number[]> {
  const sequences: number[] = [];
  for await (const { sequence } of events) {
    sequences.push(sequence);
    if (sequences.length === count) break;
  }
  return sequences;
}

test("a broken stream is resumed behind the last event", async (t) => {
  const resumedFrom: (string | undefined)[] = [];
  const api = await serve(t, (request, response) => {
    const last = Number(request.headers["last-event-id"] ?? 0);
    resumedFrom.push(String(last));
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(`retry: 1\nid: ${last}\ndata:\n\n${textOf(last + 1)}`);
    // The second event is cut in the middle; its half must not be seen.
    response.write(textOf(last + 2).slice(0, 30), () => response.destroy());
  });
  const signal = AbortSignal.timeout(10_000);
  const events = followEvents(api, { jobId: "a-1", follow: true, signal });
  assert.deepEqual(await take(events, 3), [1, 2, 3]);
  assert.deepEqual(resumedFrom, ["0", "1", "2"]);
});

test("a reader that is dropped resumes", async (t) => {
  const api = await serve(t, (request, response) => {
    const last = Number(request.headers["last-event-id"] ?? 0);
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(`${textOf(last + 1)}event: dropped\ndata: {"reason":"behind"}\n\n`);
  });
  const signal = AbortSignal.timeout(10_000);
  assert.deepEqual(await take(followEvents(api, { after: 5, follow: true, signal }), 2), [6, 7]);
});

test("what the API refuses is final, with its code and its fix", async (t) => {
  const problem = {
    code: "job-not-found",
    detail: "there is no job x",
    status: 404,
    fix: "cox jobs",
  };
  const api = await serve(t, (_, response) => {
    response.writeHead(404, { "content-type": "application/problem+json" });
    response.end(JSON.stringify(problem));
  });
  const signal = AbortSignal.timeout(10_000);
  const events = followEvents(api, { jobId: "x", follow: true, signal });
  await assert.rejects(take(events, 1), (error) => {
    assert.ok(error instanceof ApiError);
    assert.deepEqual(error.problem, problem);
    return true;
  });
});

test("nobody at the address is said in a sentence with a fix", async () => {
  const api = new ApiClient("http://127.0.0.1:1/");
  await assert.rejects(api.get("/v1/jobs"), (error) => {
    assert.ok(error instanceof ApiError);
    assert.equal(error.problem.code, "unreachable");
    assert.match(error.problem.fix ?? "", /cox up/);
    return true;
  });
});
