/** The API on a bus and a store of its own, for tests. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { startTestBus } from "@coxswain/embedded/testing";
import { openFolderStore } from "@coxswain/store";
import { buildApp } from "./app.ts";
import { buildApi } from "./service.ts";

export async function startTestApp(t: TestContext) {
  const { bus } = await startTestBus(t);
  const stop = new AbortController();
  const folder = await mkdtemp(join(tmpdir(), "coxswain-api-"));
  const store = openFolderStore(folder);
  const api = buildApi(bus, stop.signal, () => undefined);
  const app = await buildApp({ api, store, signal: stop.signal, streamsMax: 10 });
  await api.view.caughtUp;
  t.after(async () => {
    stop.abort();
    await app.close();
    await rm(folder, { recursive: true, force: true });
  });
  return { app, api, bus, store, folder, stop };
}
