export {
  cacheFolder,
  ensureNatsServer,
  type FoundNatsServer,
  versionOf,
} from "./ensure-nats-server.ts";
export {
  claimPort,
  freePort,
  type NatsServer,
  type NatsServerOptions,
  startNatsServer,
} from "./nats-server.ts";
