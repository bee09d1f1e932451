import { deepEqual, equal } from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { startTestBus } from "@coxswain/embedded/testing";

const main = new URL("./main.ts", import.meta.url).pathname;

test("the process says that it is ready, survives SIGKILL, and stops on SIGTERM", async (t) => {
  const { url, dataDir } = await startTestBus(t);
  const folder = join(dataDir, "store");
  await mkdir(folder);
  await writeFile(join(folder, "part.bin.tmp-1"), "half");
  const start = () => {
    const child = spawn(process.execPath, [main], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, NATS_URL: url, STORE_URL: `file://${folder}` },
    });
    t.after(() => child.kill("SIGKILL"));
    const ready = (async () => {
      for await (const line of createInterface({ input: child.stdout }))
        if (JSON.parse(line).msg === "ready") return;
    })();
    return { child, ready };
  };
  const first = start();
  await first.ready;
  first.child.kill("SIGKILL");
  deepEqual(await once(first.child, "exit"), [null, "SIGKILL"]);
  const second = start();
  await second.ready;
  second.child.kill("SIGTERM");
  deepEqual(await once(second.child, "exit"), [0, null]);
});

test("another scheme than file: or s3: ends the process with the setting's name", async (t) => {
  const { url } = await startTestBus(t);
  const child = spawn(process.execPath, [main], {
    stdio: ["ignore", "pipe", "ignore"],
    env: { ...process.env, NATS_URL: url, STORE_URL: "ftp://bucket" },
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  const [code] = await once(child, "close");
  equal(code, 1);
  equal(output.includes("invalid-config") && output.includes("ftp://bucket"), true, output);
});
