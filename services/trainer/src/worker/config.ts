/** A worker's configuration: its agent sets these variables. */

import { idPattern } from "@coxswain/domain";
import { type Static, Type } from "@coxswain/schema";
import { commonConfig } from "@coxswain/service";

export const WorkerConfigSchema = Type.Object({
  ...commonConfig,
  COXSWAIN_JOB_ID: Type.String({ pattern: idPattern }),
  COXSWAIN_WORKER_ID: Type.String({ pattern: idPattern }),
  COXSWAIN_NODE_ID: Type.String({ pattern: idPattern }),
  COXSWAIN_WORKER_DIR: Type.String({
    minLength: 1,
    description: "Folder for exit.json and the program",
  }),
  COXSWAIN_EXIT_FILE: Type.Optional(
    Type.String({ description: "Its last word, for whoever started it; absent: exit.json there" }),
  ),
  COXSWAIN_START_FILE: Type.Optional(
    Type.String({ description: "What its agent noted before it started; absent: there is none" }),
  ),
  COXSWAIN_CACHE_DIR: Type.String({ minLength: 1, description: "Engines that the set-up brought" }),
  COXSWAIN_ENGINE: Type.String({ default: "wasm" }),
  COXSWAIN_ENGINE_IDENTITY: Type.Optional(
    Type.String({ description: "The job's engine, to be loaded before the log is read" }),
  ),
  CUDA_VISIBLE_DEVICES: Type.Optional(
    Type.String({ description: "The worker's GPUs; absent: whatever the machine has" }),
  ),
  COXSWAIN_HOST: Type.String({
    default: "127.0.0.1",
    description: "Address that other workers connect to",
  }),
  STORE_URL: Type.String({
    description: "Where checkpoints go: file:///FOLDER or s3://BUCKET/PREFIX",
  }),
  COXSWAIN_TRANSPORT: Type.Union(
    [Type.Literal("auto"), Type.Literal("unix"), Type.Literal("tcp")],
    {
      default: "auto",
      description:
        "Between workers of one machine. auto: shared memory, or else Unix sockets; unix: those; tcp: TCP",
    },
  ),
  EXCHANGE_TLS: Type.Union([Type.Literal("off"), Type.Literal("on")], {
    default: "off",
    description: "on: connections to other workers are TLS, also where the job does not ask for it",
  }),
  HEARTBEAT_TIMEOUT_MS: Type.Integer({
    default: 1000,
    minimum: 50,
    description: "A peer that is silent for longer is lost",
  }),
  SLOW_AFTER_MS: Type.Integer({
    default: 10_000,
    minimum: 0,
    description: "A worker that is slower than the others for so long gives shards away",
  }),
  LEAVE_TIMEOUT_MS: Type.Integer({
    default: 15_000,
    minimum: 100,
    description:
      "Who was asked to leave is killed after so long; two thirds are for its checkpoint",
  }),
  AGENT_TIMEOUT_MS: Type.Integer({
    default: 60_000,
    minimum: 0,
    description:
      "A worker whose agent is silent for longer leaves; 0: there is none, and it passes on its own output",
  }),
  TRACEPARENT: Type.Optional(Type.String({ description: "W3C trace context of the submission" })),
  COXSWAIN_COMMIT_LOG: Type.Optional(
    Type.String({ description: "File that gets a line for each committed step; for benchmarks" }),
  ),
});

export type WorkerConfig = Static<typeof WorkerConfigSchema>;
