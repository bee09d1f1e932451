import { parseConfig, runService } from "@coxswain/service";
import { openStore } from "@coxswain/store";
import { ConfigSchema } from "./config.ts";
import { runCheckpoints } from "./service.ts";

const config = parseConfig(ConfigSchema, process.env);
await runService("checkpoint", config, async ({ bus, log, signal }) => ({
  done: runCheckpoints({
    bus,
    store: openStore(config.STORE_URL),
    signal,
    log: (sentence, fields) => log.info(fields, sentence),
  }),
}));
