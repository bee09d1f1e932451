/** What a worker's process does once all of it is loaded. */
import { connectBus } from "@coxswain/bus";
import { createLogger, parseConfig, startTelemetry } from "@coxswain/service";
import { WorkerConfigSchema } from "./config.ts";
import { passOnOutput } from "./output.ts";
import { runWorker } from "./worker.ts";

/** Ends the process. */
export async function runProcess(environment: NodeJS.ProcessEnv): Promise<never> {
  const config = parseConfig(WorkerConfigSchema, environment);
  const log = createLogger("worker", config.LOG_LEVEL).child({
    jobId: config.COXSWAIN_JOB_ID,
    workerId: config.COXSWAIN_WORKER_ID,
  });
  const leave = new AbortController();
  process.removeAllListeners("SIGTERM"); // What start.ts did until there was somebody to ask.
  process.on("SIGTERM", () => leave.abort());
  process.on("SIGINT", () => leave.abort());

  const telemetry = await startTelemetry("worker", config);
  const bus = await connectBus({
    url: config.NATS_URL,
    token: config.NATS_TOKEN,
    name: config.COXSWAIN_WORKER_ID,
    replicas: config.NATS_REPLICAS,
  });
  if (config.AGENT_TIMEOUT_MS === 0)
    for (const stream of ["stdout", "stderr"] as const)
      passOnOutput(
        bus,
        { jobId: config.COXSWAIN_JOB_ID, workerId: config.COXSWAIN_WORKER_ID, stream },
        process[stream],
        Date.now,
      );
  const end = await runWorker({
    bus,
    config,
    leave: leave.signal,
    log: (sentence, fields) => log.info(fields, sentence),
  });
  log.info(end, "worker ends");
  await Promise.race([
    Promise.all([bus.close(), telemetry.stop()]),
    new Promise((resolve) => setTimeout(resolve, 1000)),
  ]);
  process.exit(end.exitCode);
}
