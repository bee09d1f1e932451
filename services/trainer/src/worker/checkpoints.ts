/** The worker's part of checkpoints: every member writes 1/N of the state, in the background. */
import type { Bus } from "@coxswain/bus";
import { AppError, type Job, type JobCheckpoint, type JobId } from "@coxswain/domain";
import { type CheckpointFacts, partRange, type Store, storePaths } from "@coxswain/store";
import type { Compute } from "./compute.ts";
import type { Compiled } from "./compute-messages.ts";
import type { WorkerPorts } from "./worker.ts";

export interface CheckpointPorts {
  readonly bus: Bus;
  readonly store: Store;
  readonly compute: Compute;
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
}

const retryMs = 2000;
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
  const { job, compiled } = ports;
  const startedMs = ports.bus.clock.nowMs();
  const { layout } = compiled;
  const total = layout.parameterFloats * (1 + layout.slotCount);
  const range = partRange(total, place.part, place.parts);
  const { floats, weightsSha256 } = await ports.compute.copy(range.from, range.to, true);
  const path = storePaths.part(job.id, place.step, place.generation, place.part, place.parts);
  const { bytes, sha256 } = await writeFloats(ports, place, path, floats);
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
    weightsSha256: weightsSha256!,
    final: place.step === ports.steps,
  };
  const writeMs = ports.bus.clock.nowMs() - startedMs;
  if (place.part === 0) await ports.toldUpTo(place.step);
  const { attempt = 0, ...told } = place;
  const again = attempt === 0 ? "" : `.again-${attempt}`;
  await ports.bus.append(
    {
      name: "checkpoint.written",
      jobId: job.id as JobId,
      id: `${job.id}.checkpoint.${place.step}.g${place.generation}.${place.part}-of-${place.parts}${again}`,
      source: "trainer",
      payload: {
        ...told,
        path,
        bytes,
        sha256,
        workerId: ports.workerId,
        writeMs,
        manifest: { ...facts },
      },
    },
    { timeoutMs: 60_000 },
  );
  return weightsSha256!;
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

async function writeFloats(
  ports: CheckpointPorts,
  place: PartPlace,
  path: string,
  floats: Float32Array,
): Promise<{ readonly bytes: number; readonly sha256: string }> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ports.store.write(path, chunksOf(floats));
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      if (tries === 1) void saySkipped(ports, place, error);
      // One checkpoint less does no harm, as long as it is not the last.
      const isWorthIt = place.step === ports.steps && tries < finalTriesMax;
      if (!error.retryable || !isWorthIt) throw error;
    }
    await ports.bus.clock.delay(retryMs);
  }
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

const chunkBytes = 1024 * 1024;

function* chunksOf(floats: Float32Array): Generator<Uint8Array> {
  const bytes = new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
  for (let offset = 0; offset < bytes.length; offset += chunkBytes)
    yield bytes.subarray(offset, offset + chunkBytes);
}
