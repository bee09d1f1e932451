import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  mkdir,
  mkdtemp,
  open as openFile,
  readdir,
  readFile,
  rm,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { openFolderStore } from "./folder-store.ts";
import { openStore } from "./open-store.ts";
import { testStore } from "./testing.ts";

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "coxswain-store-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const bytesOf = (text: string) => new TextEncoder().encode(text);

testStore(async (t) => openFolderStore(join(await folderOf(t), "new", "root")));

test("whatever the path, the file is inside the folder or refused", async (t) => {
  const root = await folderOf(t);
  const store = openFolderStore(join(root, "inside"));
  const segment = fc.oneof(
    fc.constantFrom("..", ".", "", "a", "b.bin", "~", "a..b", "-", "_"),
    fc.string({ maxLength: 6 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(segment, { minLength: 1, maxLength: 4 }), async (segments) => {
      const path = segments.join("/");
      const outcome = await store.write(path, [bytesOf("x")]).then(
        () => "written",
        (error: { code: string }) => error.code,
      );
      // "a" may be a file already when "a/b" comes.
      ok(["written", "invalid-path", "store-failed"].includes(outcome), outcome);
      if (outcome === "written") {
        equal(await readFile(join(root, "inside", ...segments), "utf8"), "x");
      }
      await store.remove(path).catch(() => undefined);
      deepEqual(
        (await readdir(root)).filter((name) => name !== "inside"),
        [],
      );
    }),
    { numRuns: 150 },
  );
});

test("a symbolic link leads nowhere", async (t) => {
  const root = await folderOf(t);
  const outside = await folderOf(t);
  await writeFile(join(outside, "secret"), "s");
  await mkdir(join(root, "jobs"));
  await symlink(outside, join(root, "jobs", "folder"));
  await symlink(join(outside, "secret"), join(root, "jobs", "file"));
  await symlink(join(outside, "missing"), join(root, "jobs", "dangling"));
  const store = openFolderStore(root);
  for (const path of ["jobs/folder/secret", "jobs/folder/new", "jobs/file"]) {
    await rejects(store.read(path), { code: "invalid-path" }, path);
    await rejects(store.write(path, [bytesOf("x")]), { code: "invalid-path" }, path);
  }
  await rejects(store.list("jobs/folder"), { code: "invalid-path" });
  deepEqual(await store.list("jobs"), []);
  await store.write("jobs/dangling", [bytesOf("mine")]);
  await store.remove("jobs");
  deepEqual(await readdir(outside), ["secret"]);
});

test("a store that is itself a symbolic link works", async (t) => {
  const real = await folderOf(t);
  const link = join(await folderOf(t), "link");
  await symlink(real, link);
  const store = openFolderStore(link);
  await store.write("a", [bytesOf("x")]);
  deepEqual(await readdir(real), ["a"]);
});

test("what killed writers left is invisible, and swept once it is old", async (t) => {
  const root = await folderOf(t);
  const store = openFolderStore(root);
  await store.write("jobs/j/keep.bin", [bytesOf("keep")]);
  const old = join(root, "jobs/j/part.bin.tmp-1");
  const fresh = join(root, "jobs/j/part.bin.tmp-2");
  await writeFile(old, "half");
  await writeFile(fresh, "half");
  const nowMs = 1_000_000_000_000;
  await utimes(old, new Date(nowMs - 60_000), new Date(nowMs - 60_000));
  await utimes(fresh, new Date(nowMs - 1000), new Date(nowMs - 1000));
  equal((await store.list("jobs")).length, 1);
  equal(await store.sweep({ nowMs, ageMsMin: 60_000 }), 1);
  deepEqual((await readdir(join(root, "jobs/j"))).sort(), ["keep.bin", "part.bin.tmp-2"]);
});

test("no room: store-full, and no trace of the file", async (t) => {
  const root = await folderOf(t);
  const fullAfter =
    (bytesMax: number): typeof openFile =>
    async (path, flags) => {
      const file = await openFile(path, flags);
      let bytes = 0;
      const writeAll = file.writeFile.bind(file);
      file.writeFile = async (data) => {
        bytes += (data as Uint8Array).length;
        if (bytes > bytesMax)
          throw Object.assign(new Error("ENOSPC: no space left on device, write"), {
            code: "ENOSPC",
            syscall: "write",
          });
        await writeAll(data);
      };
      return file;
    };
  const store = openFolderStore(root, { open: fullAfter(4) });
  await store.write("a/small", [bytesOf("1234")]);
  await rejects(store.write("a/big", [bytesOf("1234"), bytesOf("5")]), { code: "store-full" });
  deepEqual(await readdir(join(root, "a")), ["small"]);
});

test("a disk that is really full", async (t) => {
  const root = await folderOf(t);
  const disk = join(root, "disk");
  await mkdir(disk);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], { stdio: "pipe" });
  } catch {
    return t.skip("mounting needs root");
  }
  try {
    const store = openFolderStore(disk);
    await store.write("a/small", [new Uint8Array(100_000)]);
    await rejects(store.write("a/big", [new Uint8Array(100_000), new Uint8Array(200_000)]), {
      code: "store-full",
      retryable: true,
    });
    deepEqual(await store.list("a"), [{ path: "a/small", bytes: 100_000 }]);
    await store.remove("a/small");
    await store.write("a/big", [new Uint8Array(200_000)]);
  } finally {
    execFileSync("umount", [disk]);
  }
});

test("only file:/// and s3:// stores are opened", () => {
  for (const url of [
    "s3://",
    "s3://bucket?style=path",
    "http://x",
    "/folder",
    "file:folder",
    "file://host/folder",
    "",
  ])
    try {
      openStore(url);
      ok(false, url);
    } catch (error) {
      equal((error as { code: string }).code, "invalid-config", url);
    }
  ok(openStore("file:///tmp/x"));
});
