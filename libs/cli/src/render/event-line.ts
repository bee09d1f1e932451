/** One line for each event: what a person wants to know of it. */

import { counted } from "@coxswain/domain";
import type { Json } from "../io/api-client.ts";
import type { FollowedEvent } from "../io/follow-events.ts";
import { pc } from "./colours.ts";
import { metric } from "./format.ts";

const words: Readonly<Record<string, (payload: Json) => string>> = {
  "job.submitted": ({ job }) =>
    `${job.metadata.name}: ${job.spec.workers.min} to ${job.spec.workers.max} workers, ${job.spec.shards} shards`,
  "job.queued": ({ reason, message }) => `${reason}: ${message}`,
  "job.placed": ({ workers, reason, engine }) =>
    `${counted(workers.length, "worker")} on ${engine.name} (${reason})`,
  "job.preempted": ({ reason }) => reason,
  "job.resize-requested": ({ workersWanted, workersMin, workersMax }) =>
    `${workersWanted ?? "-"} wanted, ${workersMin} to ${workersMax}`,
  "job.workers-wanted": ({ workersWanted, reason }) => `${workersWanted}: ${reason}`,
  "job.batch-wanted": ({ batchSize, learningRateFactor, reason }) =>
    `${batchSize} samples an update, learning rate x ${learningRateFactor}: ${reason}`,
  "job.succeeded": ({ weightsSha256, steps }) =>
    `${steps} steps, weights ${weightsSha256.slice(0, 12)}`,
  "job.failed": ({ error }) => `${error.code}: ${error.message}`,
  "worker.left": ({ workerId }) => workerId,
  "worker.standing-by": ({ workerId, step }) => `${workerId} follows since step ${step}`,
  "worker.joined": ({ workerId, generation }) => `${workerId} in generation ${generation}`,
  "worker.compiled": ({ mode, programHash, reason, xlaSeconds }) =>
    `${mode === "recorded" ? "recorded" : "operator by operator"}, program ${programHash.slice(0, 12)}${xlaSeconds === undefined ? "" : `, XLA took ${xlaSeconds.toFixed(1)} s`}${reason === undefined ? "" : `: ${reason}`}`,
  "worker.lost": ({ workerId, error }) => `${workerId}: ${error.message}`,
  "worker.slowed": ({ workerId, msPerShard, othersMsPerShard, shardsBefore, shardsAfter }) =>
    `${workerId} needs ${msPerShard.toFixed(1)} ms for a shard, the others ${othersMsPerShard.toFixed(1)}; ${shardsAfter} shards instead of ${shardsBefore}`,
  "worker.disagreed": ({ step, shard, reason }) => `step ${step}, shard ${shard}: ${reason}`,
  "training.generation-formed": ({ generation, members, fromStep, cause }) =>
    `generation ${generation}: ${counted(members.length, "worker")} from step ${fromStep} (${cause})`,
  "training.progressed": ({ stepTo, steps, samplesPerSecond, metrics, workers, batchSize }) =>
    `step ${stepTo}/${steps}, ${Math.round(samplesPerSecond)} samples/s, ${counted(workers, "worker")}, ${batchSize === undefined ? "" : `batch ${batchSize}, `}${metricsOf(metrics)}`,
  "training.epoch-finished": ({ epoch, metrics }) =>
    `epoch ${epoch}, held-out ${metricsOf(metrics)}`,
  "training.finished": ({ step, metrics, weightsSha256 }) =>
    `step ${step}, ${metricsOf(metrics)}, weights ${weightsSha256.slice(0, 12)}`,
  "training.failed": ({ error }) => `${error.code}: ${error.message}`,
  "checkpoint.written": ({ step, part, parts, isReused }) =>
    `step ${step}, part ${part + 1} of ${parts}${isReused ? ", unchanged" : ""}`,
  "checkpoint.committed": ({ step, bytes }) => `step ${step}, ${bytes} bytes`,
  "checkpoint.skipped": ({ step, error }) => `step ${step}: ${error.message}`,
  "checkpoint.rejected": ({ step, reason }) => `step ${step}: ${reason}`,
  "checkpoint.passed-over": ({ step, reason }) => `step ${step}: ${reason}`,
  "checkpoint.pruned": ({ steps }) => `steps ${steps.join(", ")}`,
  "model.exported": ({ format, files }) => `${format}, ${files.length} files`,
  "model.export-failed": ({ reason }) => reason,
};

const alarming = new Set([
  "worker.lost",
  "worker.disagreed",
  "job.failed",
  "training.failed",
  "checkpoint.rejected",
  "checkpoint.passed-over",
  "checkpoint.skipped",
  "job.preempted",
]);

export function metricsOf(metrics: Readonly<Record<string, number>>): string {
  return Object.entries(metrics)
    .map(([name, value]) => `${name} ${metric(value)}`)
    .join(", ");
}

export function eventLine(event: FollowedEvent): string {
  const name = event.name.padEnd(26);
  const colour = alarming.has(event.name)
    ? pc.red
    : event.name.startsWith("job.")
      ? pc.cyan
      : pc.dim;
  return `${pc.dim(event.time.slice(11, 23))} ${colour(name)} ${words[event.name]?.(event.payload) ?? ""}`;
}
