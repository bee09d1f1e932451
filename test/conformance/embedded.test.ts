/** The platform on one machine keeps what every platform promises. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheFolder, ensureNatsServer, liveWorkers, startPlatform } from "@coxswain/embedded";
import { holdPlatformContract } from "./platform-contract.ts";

holdPlatformContract("the platform on one machine", async (t) => {
  const { path } = await ensureNatsServer({ environment: process.env });
  const dataDir = await mkdtemp(join(tmpdir(), "coxswain-conformance-"));
  const platform = await startPlatform({
    dataDir,
    natsBinary: path,
    cacheDir: cacheFolder(process.env),
    environment: { ...process.env, HEARTBEAT_TIMEOUT_MS: "5000" },
  });
  t.after(async () => {
    await platform.stop();
    await rm(dataDir, { recursive: true, force: true });
  });
  const gate = join(dataDir, "open");
  return {
    apiUrl: platform.apiUrl,
    gate: {
      path: gate,
      open: () => writeFile(gate, ""),
      close: () => rm(gate, { force: true }),
    },
    crash: async ({ workerId }) => {
      const worker = (await liveWorkers(dataDir)).find((live) => live.workerId === workerId);
      if (worker !== undefined) process.kill(worker.pid, "SIGKILL");
    },
    crashLog: () => platform.kill("nats-server"),
  };
});
