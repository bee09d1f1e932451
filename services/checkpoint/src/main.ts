import { parseConfig, runService } from "@coxswain/service";
import { openStore } from "@coxswain/store";
import { ConfigSchema } from "./config.ts";
import { runCheckpoints } from "./service.ts";

const config = parseConfig(ConfigSchema, process.env);
await runService("checkpoint", config, async ({ bus, log, signal }) => {
  const store = openStore(config.STORE_URL);
  const swept = await store.sweep({ nowMs: Date.now(), ageMsMin: config.SWEEP_AGE_MS });
  if (swept > 0) log.info({ swept }, "files of broken-off writes removed");
  const say = (sentence: string, fields: object) => log.info(fields, sentence);
  return { done: runCheckpoints({ bus, store, signal, log: say }) };
});
