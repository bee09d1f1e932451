import { hostname } from "node:os";
import { parseConfig, runService } from "@coxswain/service";
import { ConfigSchema } from "./config.ts";
import { runTrainer } from "./service.ts";

const given = parseConfig(ConfigSchema, { NODE_ID: hostname(), ...process.env });
const config = {
  ...given,
  NODE_HOST: given.NODE_HOST === "hostname" ? hostname() : given.NODE_HOST,
};
/** What a worker inherits: enough to run, nothing that names the agent. */
const inherited = Object.fromEntries(
  ["PATH", "HOME", "LANG", "TZ", "NODE_EXTRA_CA_CERTS", "XDG_CACHE_HOME"].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value]];
  }),
);
await runService("trainer", config, async ({ bus, log, signal }) => ({
  done: runTrainer(
    { bus, signal, now: Date.now, log: (sentence, fields) => log.info(fields, sentence) },
    config,
    inherited,
  ),
}));
