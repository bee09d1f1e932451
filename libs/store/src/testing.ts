/** What every store promises: each kind has a test file that runs this on it. */
import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { sha256Of } from "./checkpoint.ts";
import type { Store } from "./store.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

const hostilePaths = [
  "",
  "/",
  ".",
  "..",
  "../secret",
  "a/../../secret",
  "a/./b",
  "a//b",
  "/etc/passwd",
  "a/",
  "a\\b",
  "a\0b",
  ".hidden",
  "a/.tmp",
  "x.tmp-1",
  "ä",
  "a b",
  "a".repeat(129),
  `${"a/".repeat(600)}a`,
  "%2e%2e/secret",
];

/** @param open gives an empty store */
export function testStore(open: (t: TestContext) => Promise<Store>): void {
  test("what was written is read back, whole, in pieces and by range, with its hash", async (t) => {
    const store = await open(t);
    const chunks = [new Uint8Array(1_500_000).fill(7), new Uint8Array(0), bytesOf("the end")];
    const whole = Buffer.concat(chunks);
    const written = await store.write("a/b/c.bin", chunks);
    deepEqual(written, { bytes: whole.length, sha256: sha256Of(whole) });
    deepEqual(Buffer.from(await store.read("a/b/c.bin")), whole);
    const pieces: Uint8Array[] = [];
    for await (const piece of store.stream("a/b/c.bin")) pieces.push(piece);
    ok(pieces.every(({ length }) => length <= 1024 * 1024));
    deepEqual(Buffer.concat(pieces), whole);
    const range = async (offset: number, length: number) =>
      textOf(await store.range("a/b/c.bin", offset, length));
    equal(await range(1_500_000, 3), "the");
    equal(await range(1_500_004, 100), "end");
    equal(await range(2_000_000, 5), "");
    equal(await range(5, 0), "");
  });

  test("a file of many megabytes, from chunks whose memory is used again", async (t) => {
    const store = await open(t);
    const chunk = new Uint8Array(3_000_000);
    const letters = "abcdefghijkl";
    const written = await store.write(
      "big",
      (function* () {
        for (const letter of letters) yield chunk.fill(letter.charCodeAt(0));
      })(),
    );
    const read = await store.read("big");
    deepEqual([read.length, sha256Of(read)], [36_000_000, written.sha256]);
    equal(String.fromCharCode(read[0]!, read[17_999_999]!, read[35_999_999]!), "afl");
  });

  test("lists by path and size, and forgets what was removed", async (t) => {
    const store = await open(t);
    await store.write("jobs/b/2.bin", [bytesOf("22")]);
    await store.write("jobs/a/1.bin", [bytesOf("1")]);
    await store.write("jobs/ab", [bytesOf("333")]);
    deepEqual(await store.list("jobs"), [
      { path: "jobs/a/1.bin", bytes: 1 },
      { path: "jobs/ab", bytes: 3 },
      { path: "jobs/b/2.bin", bytes: 2 },
    ]);
    await store.remove("jobs/b");
    await store.remove("jobs/b");
    deepEqual(await store.list("jobs/b"), []);
    await store.remove("jobs/a");
    equal(textOf(await store.read("jobs/ab")), "333");
    await rejects(store.read("jobs/b/2.bin"), { code: "checkpoint-not-found" });
    await rejects(store.range("jobs/b/2.bin", 0, 1), { code: "checkpoint-not-found" });
    await rejects(
      async () => {
        for await (const _ of store.stream("jobs/b/2.bin")) ok(false);
      },
      { code: "checkpoint-not-found" },
    );
  });

  test("two writers of one path both succeed, and one of them is there in full", async (t) => {
    const store = await open(t);
    const contents = ["a", "b", "c", "d"].map((letter) => bytesOf(letter.repeat(100_000)));
    await Promise.all(contents.map((content) => store.write("same/file", [content])));
    const hash = sha256Of(await store.read("same/file"));
    ok(contents.map(sha256Of).includes(hash));
    equal((await store.list("same")).length, 1);
  });

  test("a writer that fails half-way leaves the old file", async (t) => {
    const store = await open(t);
    await store.write("f/x", [bytesOf("old")]);
    const broken = (function* () {
      yield bytesOf("ne");
      yield new Uint8Array(20_000_000);
      throw new RangeError("the source broke off");
    })();
    await rejects(store.write("f/x", broken));
    equal(textOf(await store.read("f/x")), "old");
    deepEqual(await store.list("f"), [{ path: "f/x", bytes: 3 }]);
  });

  test("paths that could leave the store are refused by every call", async (t) => {
    const store = await open(t);
    for (const path of hostilePaths) {
      const calls = {
        read: () => store.read(path),
        range: () => store.range(path, 0, 1),
        write: () => store.write(path, [bytesOf("x")]),
        list: () => store.list(path),
        remove: () => store.remove(path),
        stream: async () => {
          for await (const _ of store.stream(path)) ok(false);
        },
      };
      for (const [name, call] of Object.entries(calls))
        await rejects(call(), { code: "invalid-path" }, `${name} ${JSON.stringify(path)}`);
    }
  });
}
