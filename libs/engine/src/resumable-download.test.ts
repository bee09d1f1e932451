import { deepEqual, equal, rejects } from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { download } from "./resumable-download.ts";

const whole = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 31) % 251));
const sha256 = createHash("sha256").update(whole).digest("hex");

async function setUp(t: TestContext, serve: RequestListener) {
  const server = createServer(serve);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const folder = await mkdtemp(join(tmpdir(), "coxswain-download-"));
  t.after(async () => {
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true });
  });
  const told: number[] = [];
  const options = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/wheel`,
    path: join(folder, "wheel"),
    sha256,
    onBytes: (bytes: number) => void told.push(bytes),
    signal: t.signal,
  };
  return { options, folder, told };
}

/** The bytes from where the request wants them; undefined: from the start. */
function startOf(range: string | undefined): number | undefined {
  const found = /^bytes=(\d+)-$/.exec(range ?? "");
  return found === null ? undefined : Number(found[1]);
}

test("a connection that breaks again and again: each goes on where the one before stopped", async (t) => {
  const starts: (number | undefined)[] = [];
  let cut: () => void = () => undefined;
  const { options, told } = await setUp(t, (request, response) => {
    const start = startOf(request.headers.range);
    starts.push(start);
    const rest = whole.subarray(start ?? 0);
    response.writeHead(start === undefined ? 200 : 206, { "content-length": rest.length });
    if (rest.length <= 80_000) response.end(rest);
    else response.write(rest.subarray(0, 80_000));
    cut = () => request.socket.destroy();
  });
  // The connection breaks once all that it has brought is in the file.
  const onBytes = (bytes: number) => {
    options.onBytes(bytes);
    if (bytes % 80_000 === 0 && bytes < whole.length) cut();
  };
  await download({ ...options, onBytes });
  deepEqual(await readFile(options.path), whole);
  deepEqual(starts, [undefined, 80_000, 160_000]);
  equal(told.at(-1), whole.length);
});

test("what an earlier run has left is not fetched again", async (t) => {
  let sent = 0;
  const { options, folder } = await setUp(t, (request, response) => {
    const rest = whole.subarray(startOf(request.headers.range) ?? 0);
    sent += rest.length;
    response.writeHead(206).end(rest);
  });
  await writeFile(`${options.path}.part`, whole.subarray(0, 150_000));
  await download(options);
  deepEqual([sent, await readdir(folder)], [50_000, ["wheel"]]);
});

test("a server that knows no ranges sends it whole", async (t) => {
  const { options } = await setUp(t, (_request, response) => response.end(whole));
  await writeFile(`${options.path}.part`, whole.subarray(0, 10));
  await download(options);
  deepEqual(await readFile(options.path), whole);
});

test("another file is refused by its hash, and leaves nothing", async (t) => {
  const { options, folder } = await setUp(t, (_request, response) => response.end("another"));
  await rejects(download(options), /its SHA-256 is [0-9a-f]{64}, expected/);
  deepEqual(await readdir(folder), []);
});

test("a refusal is told at once", async (t) => {
  let asked = 0;
  const { options } = await setUp(t, (_request, response) => {
    asked += 1;
    response.writeHead(403).end();
  });
  await rejects(download(options), { code: "engine-unavailable", message: /answers 403/ });
  equal(asked, 1);
});
