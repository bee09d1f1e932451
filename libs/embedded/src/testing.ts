/** A real bus for a test: its own nats-server in a temporary folder, gone when the test ends. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type Bus, connectBus } from "@coxswain/bus";
import { ensureNatsServer } from "./ensure-nats-server.ts";
import { type NatsServer, startNatsServer } from "./nats-server.ts";

export interface TestBus {
  readonly bus: Bus;
  readonly url: string;
  readonly server: NatsServer;
  readonly dataDir: string;
  /** Starts the server again on the same port and data, after `server.kill()` or `stop()`. */
  restart(): Promise<NatsServer>;
}

export async function startTestBus(
  t: TestContext,
  options: { readonly maxFileStoreBytes?: number } = {},
): Promise<TestBus> {
  const { path } = await ensureNatsServer({ environment: process.env });
  const dataDir = await mkdtemp(join(tmpdir(), "coxswain-test-"));
  const start = (port: number) => startNatsServer({ binary: path, dataDir, port, ...options });
  let server = await start(0);
  const bus = await connectBus({ url: server.url, name: "test" });
  t.after(async () => {
    await bus.close();
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  });
  return {
    bus,
    url: server.url,
    server,
    dataDir,
    restart: async () => {
      server = await start(server.port);
      return server;
    },
  };
}
