import { hostname } from "node:os";
import { parseConfig, runService } from "@coxswain/service";
import { ConfigSchema } from "./config.ts";
import { runTrainer } from "./service.ts";

const given = parseConfig(ConfigSchema, { NODE_ID: hostname(), ...process.env });
const config = {
  ...given,
  NODE_HOST: given.NODE_HOST === "hostname" ? hostname() : given.NODE_HOST,
};
const inheritedNames = ["PATH", "HOME", "LANG", "TZ", "NODE_EXTRA_CA_CERTS", "XDG_CACHE_HOME"];
/** What a worker inherits: enough to run, nothing that names the agent. */
const inherited = Object.fromEntries(
  Object.entries(process.env).flatMap(([name, value]) => {
    // An S3 store's client finds its credentials in variables of these names.
    const isInherited = inheritedNames.includes(name) || name.startsWith("AWS_");
    return isInherited && value !== undefined ? [[name, value]] : [];
  }),
);
await runService("trainer", config, async ({ bus, log, signal }) => ({
  done: runTrainer(
    { bus, signal, now: Date.now, log: (sentence, fields) => log.info(fields, sentence) },
    config,
    inherited,
  ),
}));
