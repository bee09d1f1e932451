/** The worker's part of checkpoints: every member writes 1/N of the state, in the background. */
import type { Bus } from "@coxswain/bus";
import { AppError, type Job, type JobCheckpoint, type JobId } from "@coxswain/domain";
import { type CheckpointFacts, partRange, storePaths } from "@coxswain/store";
import type { Compiled } from "./compute-messages.ts";
import type { Saved } from "./save-messages.ts";
import type { Saver } from "./saver.ts";
import type { WorkerPorts } from "./worker.ts";

export interface CheckpointPorts {
  readonly bus: Bus;
  readonly saver: Saver;
  readonly compiled: Compiled;
  readonly job: Job;
  readonly workerId: string;
  readonly steps: number;
  /** Resolves when the log tells of every step below. */
  readonly toldUpTo: (step: number) => Promise<void>;
  readonly log: (sentence: string, fields: object) => void;
}

export interface PartPlace {
  readonly step: number;
  readonly generation: number;
  readonly part: number;
  readonly parts: number;
  /** Counts from 0: a part that was found damaged is written and told again. */
  readonly attempt?: number;
  /** Written before the last member leaves. */
  readonly isFarewell?: boolean;
  /** What lies in the store is not relied on: a checkpoint was rejected. */
  readonly isAnew?: boolean;
}

/** Hours: the last checkpoint waits for room, since without it the job cannot end. */
const finalTriesMax = 10_000;

/**
 * Writes one part of the state as of `step`. Call it at the step's boundary: the copy is asked for
 * at once, the rest runs in the background. The first part is announced only when the log tells of
 * all steps below, so that a restored job never lies ahead of its own ledger.
 *
 * @returns the weights' SHA-256
 */
export async function writePart(ports: CheckpointPorts, place: PartPlace): Promise<string> {
  const { job, compiled, saver } = ports;
  const startedMs = ports.bus.clock.nowMs();
  const pausedMs = saver.pausedMs;
  const saved = await savePart(ports, place);
  const pauseMs = saver.pausedMs - pausedMs;
  const { layout } = compiled;
  const facts: CheckpointFacts = {
    step: place.step,
    steps: ports.steps,
    generation: place.generation,
    seed: job.spec.seed,
    engine: compiled.identity,
    programHash: compiled.hash,
    shards: job.spec.shards,
    batchSize: job.spec.batchSize,
    parameterFloats: layout.parameterFloats,
    slotCount: layout.slotCount,
    segments: layout.segments,
    samplesTrain: compiled.samplesTrain,
    ...(compiled.modelTopology === undefined ? {} : { modelTopology: compiled.modelTopology }),
    weightsSha256: saved.weightsSha256,
    final: place.step === ports.steps,
  };
  const writeMs = ports.bus.clock.nowMs() - startedMs;
  if (place.part === 0) await ports.toldUpTo(place.step);
  const { step, generation, part, parts, attempt = 0 } = place;
  const again = attempt === 0 ? "" : `.again-${attempt}`;
  const { path, bytes, sha256, isReused } = saved;
  await ports.bus.append(
    {
      name: "checkpoint.written",
      jobId: job.id as JobId,
      id: `${job.id}.checkpoint.${step}.g${generation}.${part}-of-${parts}${again}`,
      source: "trainer",
      payload: {
        ...{ step, generation, part, parts, path, bytes, sha256 },
        workerId: ports.workerId,
        ...{ writeMs, pauseMs, isReused },
        manifest: { ...facts },
      },
    },
    { timeoutMs: 60_000 },
  );
  return saved.weightsSha256;
}

/** Tells, in the background, that a checkpoint was damaged: the one before it is used. */
export function tellPassedOver({ bus, config, log }: WorkerPorts) {
  const { COXSWAIN_JOB_ID: jobId, COXSWAIN_WORKER_ID: workerId } = config;
  return ({ step, generation }: JobCheckpoint, reason: string): void => {
    log("a checkpoint is passed over", { step, reason });
    const id = `${jobId}.checkpoint.passed-over.${step}.g${generation}.${workerId}`;
    const payload = { step, generation, reason: reason.slice(0, 4000), workerId };
    const name = "checkpoint.passed-over";
    bus
      .append(
        { name, jobId: jobId as JobId, id, source: "trainer", payload },
        { timeoutMs: 60_000 },
      )
      .catch((error: unknown) => log("it could not be told", { err: error }));
  };
}

/** One checkpoint less does no harm, as long as it is not the last. */
async function savePart(ports: CheckpointPorts, place: PartPlace): Promise<Saved> {
  const { job, compiled, saver } = ports;
  const { step, generation, part, parts, attempt = 0, isAnew = false } = place;
  const { parameterFloats, slotCount } = compiled.layout;
  const { from, to } = partRange(parameterFloats * (1 + slotCount), part, parts);
  const isFinal = step === ports.steps;
  const skip = (error: AppError) => void saySkipped(ports, place, error);
  if (!isFinal && !place.isFarewell && !saver.hasRoom(to - from)) {
    const error = new AppError("store-slow", "the checkpoints before are still being written");
    skip(error);
    throw error;
  }
  const path = storePaths.part(job.id, step, generation, part, parts);
  const newest = newestOf(job.checkpoints);
  const request = { from, to, path, triesMax: isFinal ? finalTriesMax : 1, onTrouble: skip };
  try {
    return await saver.save({
      ...request,
      newest:
        attempt > 0 || isAnew ? undefined : newest && { path: newest.path, sha256: newest.sha256 },
    });
  } catch (error) {
    if (error instanceof AppError && !isFinal) skip(error);
    throw error;
  }
}

function newestOf(checkpoints: readonly JobCheckpoint[]): JobCheckpoint | undefined {
  return checkpoints.reduce<JobCheckpoint | undefined>(
    (best, one) => (best === undefined || one.committedAtMs >= best.committedAtMs ? one : best),
    undefined,
  );
}

/** Tells why there is no such checkpoint; the final one is tried again and follows once it is written. */
async function saySkipped(
  { bus, job, workerId, log }: CheckpointPorts,
  { step, generation, part, parts }: PartPlace,
  { code, message }: AppError,
): Promise<void> {
  log("a part of a checkpoint could not be written", { step, part, code, reason: message });
  const id = `${job.id}.checkpoint-skipped.${step}.g${generation}.${part}-of-${parts}`;
  const payload = { generation, step, part, parts, error: { code, message, workerId } };
  await bus
    .append(
      { name: "checkpoint.skipped", jobId: job.id as JobId, id, source: "trainer", payload },
      { timeoutMs: 60_000 },
    )
    .catch(() => undefined); // The worker's log has it; the bus may lie on the same full disk.
}
