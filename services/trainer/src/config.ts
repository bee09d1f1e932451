/** The agent's configuration. */
import { idPattern } from "@coxswain/domain";
import { type Static, Type } from "@coxswain/schema";
import { commonConfig } from "@coxswain/service";

export const ConfigSchema = Type.Object({
  ...commonConfig,
  NODE_ID: Type.String({
    pattern: idPattern,
    description: "This node's name; the host's own when it is not set",
  }),
  NODE_HOST: Type.String({
    default: "127.0.0.1",
    description:
      "Address at which other nodes reach this one's workers; `hostname` is the host's own name",
  }),
  NODE_CPU: Type.Number({
    default: 0,
    minimum: 0,
    description: "Cores to offer; 0 offers all that the machine or the container has",
  }),
  NODE_MEMORY_MIB: Type.Integer({
    default: 0,
    minimum: 0,
    description: "Memory to offer in MiB; 0 offers nine tenths of the machine's or the container's",
  }),
  NODE_GPU: Type.Integer({
    default: -1,
    minimum: -1,
    description: "GPUs to offer; -1 offers all that nvidia-smi tells",
  }),
  NODE_GPU_MEMORY_MIB: Type.Integer({
    default: 0,
    minimum: 0,
    description: "Memory of each GPU in MiB; 0 offers what nvidia-smi tells",
  }),
  NODE_DISK_MIBPS: Type.Number({ default: 0, minimum: 0, description: "Disk traffic to offer" }),
  NODE_NETWORK_MIBPS: Type.Number({
    default: 0,
    minimum: 0,
    description: "Network traffic to offer",
  }),
  NODE_LABELS: Type.String({
    default: "",
    description: "Labels that jobs select nodes by: key=value,key=value",
  }),
  NODE_DIR: Type.String({ minLength: 1, description: "Folder for the workers' files" }),
  STORE_URL: Type.String({
    description: "Where workers put checkpoints: file:///FOLDER or s3://BUCKET/PREFIX",
  }),
  COXSWAIN_CACHE_DIR: Type.String({ minLength: 1, description: "Engines that the set-up brought" }),
  HEARTBEAT_TIMEOUT_MS: Type.Integer({
    default: 1000,
    minimum: 50,
    description: "A worker's peer that is silent for longer is lost",
  }),
  SLOW_AFTER_MS: Type.Integer({
    default: 10_000,
    minimum: 0,
    description: "A worker that is slower than the others for so long gives shards away",
  }),
  EXCHANGE_TLS: Type.Union([Type.Literal("off"), Type.Literal("on")], {
    default: "off",
    description: "on: workers of every job speak TLS with each other; set it alike on all nodes",
  }),
  LEAVE_TIMEOUT_MS: Type.Integer({
    default: 15_000,
    minimum: 100,
    description: "A worker that was asked to leave is killed after so long",
  }),
  COXSWAIN_COMMIT_LOG: Type.Optional(
    Type.String({ description: "File for the times of commits; for benchmarks" }),
  ),
});
export type Config = Static<typeof ConfigSchema>;
