export { type DebianPackages, unpackFromDebian } from "./debian.ts";
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
export {
  isRunning,
  liveWorkers,
  type Platform,
  type PlatformFile,
  type PlatformOptions,
  readPlatformFile,
  startPlatform,
  type WorkerProcess,
} from "./platform.ts";
