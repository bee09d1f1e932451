import { parseConfig, runService } from "@coxswain/service";
import { ConfigSchema } from "./config.ts";
import { runAutoscaler } from "./service.ts";

const config = parseConfig(ConfigSchema, process.env);
await runService("autoscaler", config, async ({ bus, log, signal }) => ({
  done: runAutoscaler(
    { bus, signal, now: Date.now, log: (sentence, fields) => log.info(fields, sentence) },
    {
      cycleIntervalMs: config.CYCLE_INTERVAL_MS,
      freezeMs: config.FREEZE_MS,
      gainMin: config.GAIN_MIN,
      batchGainMin: config.BATCH_GAIN_MIN,
    },
  ),
}));
