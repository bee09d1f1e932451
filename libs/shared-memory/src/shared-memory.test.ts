/** Runs where there is a compiler. */
import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { installSharedMemory } from "./install.ts";
import { openSharedMemory, pageBytes, type SharedRange } from "./shared-memory.ts";

async function open(t: TestContext) {
  const cacheDir = await mkdtemp(join(tmpdir(), "coxswain-shm-"));
  t.after(() => rm(cacheDir, { recursive: true, force: true }));
  equal(await openSharedMemory(cacheDir), undefined);
  try {
    await installSharedMemory(cacheDir);
  } catch (error) {
    t.skip(String(error));
    return undefined;
  }
  const memory = (await openSharedMemory(cacheDir))!;
  const pages = 4;
  const wasm = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const range = (page: number, count = 1) =>
    new Uint8Array(wasm.buffer, page * pageBytes, count * pageBytes);
  return { cacheDir, memory, range };
}

/** Another process that shares a page of its own and writes a byte when it is told to. */
async function startOther(t: TestContext, cacheDir: string) {
  const library = new URL("./shared-memory.ts", import.meta.url).href;
  const path = join(cacheDir, "other.ts");
  await writeFile(
    path,
    `import { openSharedMemory, pageBytes } from ${JSON.stringify(library)};
const memory = await openSharedMemory(${JSON.stringify(cacheDir)});
const wasm = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const range = new Uint8Array(wasm.buffer, 0, pageBytes);
const words = new Int32Array(wasm.buffer);
process.send(memory.share(range));
process.on("message", ({ at, value }) => {
  if (at >= 0) range[at] = value, process.send("written");
  else setInterval(() => { Atomics.add(words, 2, 1); memory.wake(words, 2); }, 10);
});
`,
  );
  const child = fork(path);
  t.after(() => child.kill("SIGKILL"));
  const [shared] = (await once(child, "message")) as [SharedRange];
  const write = async (at: number, value: number) => {
    child.send({ at, value });
    await once(child, "message");
  };
  return { child, shared, write };
}

test("what another process writes is seen where its memory is mapped, also after its death", async (t) => {
  const opened = await open(t);
  if (opened === undefined) return;
  const { cacheDir, memory, range } = opened;
  const { child, shared, write } = await startOther(t, cacheDir);
  const window = range(2);
  window[0] = 9;
  memory.map(window, shared);
  deepEqual([window[0], window[100]], [0, 0]);
  await write(100, 7);
  equal(window[100], 7);
  child.kill("SIGKILL");
  await once(child, "exit");
  equal(window[100], 7);
  memory.unmap(window);
  deepEqual([window[0], window[100]], [0, 0]);
  window[0] = 1; // It is ordinary memory again.
  throws(() => memory.map(window, shared), /No such file|No such process/);
});

test("who waits for a word of another process is woken, and does not wait for one that has changed", async (t) => {
  const opened = await open(t);
  if (opened === undefined) return;
  const { cacheDir, memory, range } = opened;
  const { child, shared } = await startOther(t, cacheDir);
  const window = range(2);
  memory.map(window, shared);
  const words = new Int32Array(window.buffer, window.byteOffset, 4);
  const minute = 60_000_000;
  memory.wait(words, 2, 1, minute); // It is 0.
  child.send({ at: -1 });
  const rung = words[2]!;
  memory.wait(words, 2, rung, minute);
  ok(words[2]! - rung < 1000, "it did not sleep until its time was over");
  throws(() => memory.wait(words, 4, 0, 0), /a word/);
  throws(() => memory.wake(new Int32Array(0), 0), /a word/);
});

test("what is no peer's memory of this size is refused, and the range stays as it was", async (t) => {
  const opened = await open(t);
  if (opened === undefined) return;
  const { memory, range } = opened;
  const shared = memory.share(range(0, 2));
  const window = range(2);
  window[5] = 3;
  throws(() => memory.map(window, shared), /not memory of a peer/);
  throws(() => memory.map(window, { pid: process.pid, fd: 0 }), /not memory of a peer|proc/);
  throws(() => memory.map(window, { pid: process.pid, fd: 9999 }), /No such file/);
  throws(() => memory.share(range(0).subarray(1)), /whole pages/);
  equal(window[5], 3);
});

test("the checksum is that of zlib, for any bytes, length and start", async (t) => {
  const checksum = (await open(t))?.memory.checksum;
  if (checksum === undefined) return t.skip("the processor has no VPCLMULQDQ, or no addon");
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 3000 }),
      fc.integer({ min: 0, max: 63 }),
      fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      (bytes, from, before) =>
        checksum(bytes.subarray(from), before) === crc32(bytes.subarray(from), before),
    ),
    { numRuns: 1000 },
  );
});

test("without a place to build there is a sentence, and no half addon", async () => {
  await rejects(installSharedMemory("/dev/null/cache"), /setup-failed.*ENOTDIR/);
});
