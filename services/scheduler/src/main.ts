import { parseConfig, runService } from "@coxswain/service";
import { ConfigSchema } from "./config.ts";
import { runScheduler } from "./service.ts";

const config = parseConfig(ConfigSchema, process.env);
await runService("scheduler", config, async ({ bus, log, signal }) => ({
  done: runScheduler(
    { bus, signal, now: Date.now, log: (sentence, fields) => log.info(fields, sentence) },
    {
      cycleIntervalMs: config.CYCLE_INTERVAL_MS,
      leaseTtlMs: config.LEASE_TTL_MS,
      nodeTimeoutMs: config.NODE_TIMEOUT_MS,
    },
  ),
}));
