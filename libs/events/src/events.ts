/**
 * Every fact that the services tell each other, in one table: name, payload, who says it and when.
 *
 * Facts are in the past tense and complete enough to act on. A payload changes only by optional
 * fields; any other change is a `v2` beside `v1`. The job's id stands in the subject and the
 * envelope, not in the payload.
 */
import { TrainingJobSchema } from "@coxswain/domain";
import { type Static, type TSchema, Type } from "@coxswain/schema";

const count = Type.Integer({ minimum: 0 });
const positive = Type.Integer({ minimum: 1 });
const text = Type.String({ maxLength: 4096 });
const id = Type.String({ minLength: 1, maxLength: 63 });
const sha256 = Type.String({ pattern: "^[0-9a-f]{64}$" });
const closed = { additionalProperties: true } as const;
const object = <T extends Record<string, TSchema>>(fields: T) => Type.Object(fields, closed);

/** A worker and the node that holds it. */
const placedWorker = object({ workerId: id, nodeId: id });

/** A member of a generation and the shards that it computes: `from <= shard < to`. */
const member = object({ workerId: id, nodeId: id, shardFrom: count, shardTo: positive });

/** The first error of a job or worker: code from the one table, a sentence, and where it came from. */
const failure = object({
  code: id,
  message: text,
  workerId: Type.Optional(id),
  step: Type.Optional(count),
});

/** From a step on an update takes a batch of so many samples; `decision`: the sequence of the fact that asked. */
const batchChange = object({
  fromStep: count,
  batchSize: positive,
  learningRateFactor: Type.Number(),
  decision: count,
});

const metrics = Type.Record(Type.String(), Type.Number());

/** Why a job waits (Kueue's vocabulary where it fits). */
export const waitReasons = [
  "PendingEvaluation",
  "WaitingForNodes",
  "WaitingForRoom",
  "WaitingForQuota",
  "WaitingForQueueHead",
  "ExceedsMaxQuota",
  "WaitingForPreemptedWorkloads",
  "NoMatchingEngine",
  "NoMatchingNodes",
  "Misconfigured",
  "OnHold",
  "Preempted",
  "Suspended",
] as const;

export const events = {
  /** job-api: a valid spec was accepted; defaults are filled in. */
  "job.submitted": object({ job: TrainingJobSchema, requestHash: Type.Optional(sha256) }),
  /** job-api: a user asks that the job ends. */
  "job.cancel-requested": object({ reason: Type.Optional(text) }),
  /** job-api: a user asks that the job gives up its workers after a checkpoint. */
  "job.suspend-requested": object({ reason: Type.Optional(text) }),
  /** job-api: a user asks that a suspended job goes on. */
  "job.resume-requested": object({}),
  /** job-api: a user asks for other numbers of workers; absent fields stay as they are. */
  "job.resize-requested": object({
    workersMin: Type.Optional(positive),
    workersMax: Type.Optional(positive),
    workersWanted: Type.Optional(positive),
  }),

  /** scheduler: the job waits, and why. Said again only when the reason changes. */
  "job.queued": object({
    reason: Type.Enum([...waitReasons]),
    message: text,
    position: Type.Optional(count),
  }),
  /**
   * scheduler: the complete set of workers that the job shall have from now on. Workers that are
   * in `declaredDead` were on nodes that the scheduler has given up: their generation goes on
   * without them, and a zombie among them is refused by its generation.
   */
  "job.placed": object({
    epoch: positive,
    workers: Type.Array(placedWorker),
    engine: Type.Object({ name: id, identity: text }),
    reason: text,
    declaredDead: Type.Optional(Type.Array(id)),
  }),
  /** scheduler: the job gave up all its workers for another's sake; it waits again. */
  "job.preempted": object({ epoch: positive, reason: text, by: Type.Optional(id) }),
  /** scheduler: all workers have left after the user's request; the job keeps its place in the log only. */
  "job.suspended": object({ epoch: positive }),
  /** scheduler: trained, and the model exported. */
  "job.succeeded": object({ epoch: positive, weightsSha256: sha256, metrics, steps: positive }),
  /** scheduler: the job ended with an error: the first one. */
  "job.failed": object({ epoch: positive, error: failure }),
  /** scheduler: ended at the user's request; no worker is left. */
  "job.cancelled": object({ epoch: positive }),

  /** autoscaler: how many workers the measured speed argues for, and the numbers. */
  "job.workers-wanted": object({
    workersWanted: positive,
    reason: text,
    curve: Type.Array(
      object({
        workers: positive,
        samplesPerSecond: Type.Number(),
        measured: Type.Boolean(),
        /** Samples per second times efficiency; absent until the gradient's noise was measured. */
        goodput: Type.Optional(Type.Number()),
      }),
    ),
    marginalGain: Type.Number(),
    threshold: Type.Number(),
    /** What the number that is asked for shall bring, by the fitted model. */
    expectedSamplesPerSecond: Type.Optional(Type.Number()),
    /** What the last number that was asked for should bring, and what it brought. */
    lastOutcome: Type.Optional(
      object({
        workers: positive,
        expectedSamplesPerSecond: Type.Number(),
        observedSamplesPerSecond: Type.Number(),
      }),
    ),
    /** What the batch makes of its samples, against batches of one shard: 1 / shards to 1. */
    efficiency: Type.Optional(Type.Number()),
    /** Samples beyond which a larger batch brings little; absent where all seems to be noise. */
    noiseScale: Type.Optional(Type.Number()),
    /** What a change of the job's workers was measured to cost. */
    moveSeconds: Type.Optional(Type.Number()),
  }),

  /**
   * autoscaler: which batch the gradient's noise and the measured speed argue for. It begins with the
   * generation whose `batches` name this fact's sequence.
   */
  "job.batch-wanted": object({
    batchSize: positive,
    learningRateFactor: Type.Number({ exclusiveMinimum: 0 }),
    reason: text,
    curve: Type.Array(
      object({
        batchSize: positive,
        samplesPerSecond: Type.Number(),
        /** Batches of the job's own size that an update is worth, times updates a second. */
        goodput: Type.Number(),
      }),
    ),
    /** Samples beyond which a larger batch brings little. */
    noiseScale: Type.Optional(Type.Number()),
  }),

  /** trainer: a worker became a member in this generation. */
  "worker.joined": object({ generation: positive, step: count, workerId: id, nodeId: id }),
  /** trainer: the worker holds the state and follows it; it takes the place of one that is lost. */
  "worker.standing-by": object({ generation: positive, step: count, workerId: id, nodeId: id }),
  /**
   * trainer: a worker compiled the job's program; the first one said counts. Recorded, its data is kept
   * by hash and run by every other worker; whoever has another hash may not train with the job.
   */
  "worker.compiled": object({
    workerId: id,
    programHash: sha256,
    engine: text,
    mode: Type.Enum(["recorded", "eager"]),
    data: Type.Optional(object({ sha256, bytes: positive })),
    /** Why it runs operator by operator, and where in the program the reason lies. */
    reason: Type.Optional(text),
    /** That XLA took to compile it there, where the job's engine has XLA; each worker takes it anew. */
    xlaSeconds: Type.Optional(Type.Number()),
  }),
  /** trainer: a member left in good order; nothing was computed twice. */
  "worker.left": object({ generation: positive, step: count, workerId: id, reason: text }),
  /** trainer (the node's agent), or scheduler (on Kubernetes): a worker ended, or could not start. */
  "worker.lost": object({
    workerId: id,
    nodeId: id,
    exitCode: Type.Optional(Type.Integer()),
    signal: Type.Optional(text),
    error: failure,
  }),
  /**
   * trainer: a member is slower than the others for long, and gives shards away. The next generation
   * (cause `renew`) has the new shares.
   */
  "worker.slowed": object({
    generation: positive,
    step: count,
    workerId: id,
    msPerShard: Type.Number(),
    /** The median of the others. */
    othersMsPerShard: Type.Number(),
    shardsBefore: positive,
    shardsAfter: positive,
  }),
  /**
   * trainer: an audit found that a shard has other bits on another worker. `workerId` is who stands
   * alone against two; absent where two differ and no third can tell.
   */
  "worker.disagreed": object({
    generation: positive,
    step: count,
    shard: count,
    workerId: Type.Optional(id),
    reason: text,
    votes: Type.Array(object({ workerId: id, sha256 })),
  }),
  /** trainer: who computes what, from which step on. The audit reads these. */
  "training.generation-formed": object({
    generation: positive,
    fromStep: count,
    members: Type.Array(member, { minItems: 1 }),
    cause: Type.Enum(["start", "restore", "loss", "join", "leave", "renew", "batch"]),
    /** Which batches hold from which steps on; absent: what held before. */
    batches: Type.Optional(Type.Array(batchChange)),
    checkpointStep: Type.Optional(count),
    /** Milliseconds from noticing the change to its being agreed. */
    agreedMs: Type.Optional(Type.Number()),
  }),
  /** trainer: steps `stepFrom <= s < stepTo` were committed in this generation. */
  "training.progressed": object({
    generation: positive,
    stepFrom: count,
    stepTo: positive,
    steps: positive,
    epoch: Type.Number(),
    workers: positive,
    samplesPerSecond: Type.Number(),
    stepMs: Type.Number(),
    metrics,
    /** Samples of an update; absent: the job's batch. */
    batchSize: Type.Optional(positive),
    /** Mean per update of what the first member waited for the others' sums, its own part being done. */
    exchangeMs: Type.Optional(Type.Number({ minimum: 0 })),
    /** Share of time in which the first member waited for data, 0 to 1. */
    inputStallShare: Type.Optional(Type.Number()),
    /** Of the gradient of a batch of the job's own size, over the last measured steps (McCandlish et al., 2018). */
    gradientNoise: Type.Optional(
      object({
        /** Square of the norm of the true gradient. */
        squaredNorm: Type.Number({ minimum: 0 }),
        /** Trace of the covariance; the noise scale is batch size x variance / squaredNorm. */
        variance: Type.Number({ minimum: 0 }),
      }),
    ),
  }),
  /** trainer: one pass over the data ended; `metrics` are of the held-out set. */
  "training.epoch-finished": object({
    generation: positive,
    epoch: positive,
    step: count,
    metrics,
  }),
  /** trainer: all steps are committed and the final checkpoint is written. */
  "training.finished": object({
    generation: positive,
    step: positive,
    weightsSha256: sha256,
    metrics,
  }),
  /** trainer: the program or the engine failed in a way that a retry would not mend. */
  "training.failed": object({ generation: count, error: failure }),

  /** trainer: one part of a checkpoint is in the store, synced. */
  "checkpoint.written": object({
    generation: positive,
    step: count,
    part: count,
    parts: positive,
    path: text,
    bytes: count,
    sha256,
    workerId: id,
    /** Milliseconds from asking for the copy to its being synced. */
    writeMs: Type.Optional(Type.Number({ minimum: 0 })),
    /** Milliseconds for which computing waited meanwhile, so that the state could be copied. */
    pauseMs: Type.Optional(Type.Number({ minimum: 0 })),
    /** It has not changed since the newest checkpoint: `path` lies with an older one. */
    isReused: Type.Optional(Type.Boolean()),
    /** Facts that every part of the checkpoint must agree on; the manifest keeps them. */
    manifest: Type.Record(Type.String(), Type.Unknown()),
  }),
  /** trainer: one part could not be written, so this checkpoint will not be; training goes on. */
  "checkpoint.skipped": object({
    generation: positive,
    step: count,
    part: count,
    parts: positive,
    error: failure,
  }),
  /** checkpoint: all parts are whole; from now on the checkpoint may be used. */
  "checkpoint.committed": object({
    generation: positive,
    step: count,
    path: text,
    bytes: count,
    sha256,
    weightsSha256: sha256,
    final: Type.Boolean(),
    /** Parts that lie with older checkpoints, since they have not changed. */
    borrowed: Type.Optional(Type.Array(text)),
  }),
  /** checkpoint: a part was damaged or missing; the checkpoint does not count. */
  "checkpoint.rejected": object({ generation: positive, step: count, reason: text }),
  /** trainer: a restoring worker found it damaged, gone or unreadable, and took the one before. */
  "checkpoint.passed-over": object({
    generation: positive,
    step: count,
    reason: text,
    workerId: id,
  }),
  /** checkpoint: removed, since newer ones are kept. */
  "checkpoint.pruned": object({ steps: Type.Array(count) }),
  /** checkpoint: the trained model lies in the store, ready for download. */
  "model.exported": object({
    step: positive,
    path: text,
    format: Type.Union([Type.Literal("tfjs-layers"), Type.Literal("safetensors")]),
    files: Type.Array(object({ name: text, bytes: count, sha256 })),
    weightsSha256: sha256,
  }),
  /** checkpoint: the model could not be exported; the job still has its checkpoint. */
  "model.export-failed": object({ step: positive, reason: text }),
} as const;

export type EventName = keyof typeof events;
export type PayloadOf<Name extends EventName> = Static<(typeof events)[Name]>;

export const eventNames = Object.keys(events) as EventName[];
