/** nats-server and job-api alone: jobs are stored, none runs. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { startNatsServer } from "@coxswain/embedded";
import { type CleanUp, temporaryFolder } from "./clean-up.ts";

const entry = resolve(import.meta.dirname, "../../services/job-api/src/main.ts");
const readyTimeoutMs = 20_000;

export async function startJobApi(
  cleanUp: CleanUp,
  natsBinary: string,
): Promise<{ readonly apiUrl: string; readonly natsUrl: string }> {
  const dataDir = await temporaryFolder(cleanUp);
  const nats = await startNatsServer({ binary: natsBinary, dataDir: join(dataDir, "nats") });
  cleanUp.add(() => nats.stop());
  const child = fork(entry, {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    execArgv: [],
    env: {
      ...process.env,
      NATS_URL: nats.url,
      STORE_URL: pathToFileURL(join(dataDir, "store")).href,
      HTTP_PORT: "0",
      HEALTH_PORT: "0",
    },
  });
  cleanUp.add(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    await ended;
  });
  const port = await new Promise<number>((done, fail) => {
    const timer = setTimeout(() => fail(new Error("job-api is not ready")), readyTimeoutMs);
    child.once("exit", () => fail(new Error("job-api ended")));
    child.on("message", (message: { readonly kind: string; readonly port?: number }) => {
      if (message.kind !== "ready") return;
      clearTimeout(timer);
      done(message.port ?? 0);
    });
  });
  return { apiUrl: `http://127.0.0.1:${port}`, natsUrl: nats.url };
}
