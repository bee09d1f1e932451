import { AppError } from "@coxswain/domain";
import { parseConfig, runService } from "@coxswain/service";
import { openStore } from "@coxswain/store";
import { buildApp } from "./app.ts";
import { ConfigSchema } from "./config.ts";
import { type Api, buildApi } from "./service.ts";

const config = parseConfig(ConfigSchema, process.env);
await runService("job-api", config, async ({ bus, log, signal }) => {
  const api = buildApi(bus, signal, (sentence, fields) => log.warn(fields, sentence));
  const app = await buildApp({
    api,
    store: openStore(config.STORE_URL),
    signal,
    streamsMax: config.STREAMS_MAX,
    log,
  });
  await api.view.caughtUp;
  const controlling = await controlTrainingJobs(api, signal, (sentence, fields) =>
    log.info(fields, sentence),
  );
  await app
    .listen({ host: config.HTTP_HOST, port: config.HTTP_PORT })
    .catch((cause: NodeJS.ErrnoException) => {
      throw new AppError(
        cause.code === "EADDRINUSE" ? "port-in-use" : "setup-failed",
        `${config.HTTP_HOST}:${config.HTTP_PORT}: ${cause.message}`,
        { cause },
      );
    });
  const address = app.server.address();
  const port = typeof address === "object" && address !== null ? address.port : config.HTTP_PORT;
  const stopped = new Promise<void>((resolve) =>
    signal.addEventListener("abort", () => void app.close().then(resolve), { once: true }),
  );
  return {
    done: Promise.all([stopped, api.view.done, controlling.done]).then(() => undefined),
    facts: { port },
    readiness: () => ({
      isReady: bus.isConnected && api.view.isCaughtUp,
      reason: bus.isConnected ? "ready" : "the bus is away",
    }),
  };
});

/** Loaded only where it is used: the client of Kubernetes is large. */
async function controlTrainingJobs(
  api: Api,
  stop: AbortSignal,
  log: (sentence: string, fields: object) => void,
): Promise<{ readonly done: Promise<void> }> {
  if (config.TRAINING_JOBS === "off") return { done: Promise.resolve() };
  const [{ connectKube }, { runTrainingJobs }] = await Promise.all([
    import("@coxswain/kube"),
    import("./io/training-jobs.ts"),
  ]);
  const kube = connectKube({ kubeconfig: config.KUBECONFIG });
  const namespace = config.KUBERNETES_NAMESPACE;
  return { done: runTrainingJobs({ api, kube, namespace, signal: stop, log, now: Date.now }) };
}
