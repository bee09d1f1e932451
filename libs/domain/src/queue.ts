/**
 * Queues and online services: what an operator configures. Kueue's words, where they fit.
 *
 * Amounts are in the units of a job's resources: cores, MiB, GPUs, MiB of GPU memory in all, MiB/s.
 */
import { type Static, Type } from "@coxswain/schema";
import { idPattern } from "./ids.ts";
import { labelPattern, ResourcesSchema } from "./training-job.ts";

const closed = { additionalProperties: false } as const;
const amount = Type.Optional(Type.Number({ minimum: 0, maximum: 1e12 }));

/** A resource that is not named has no limit. */
export const QuotaSchema = Type.Object(
  {
    cpu: amount,
    memory: amount,
    gpu: amount,
    gpuMemory: amount,
    diskIo: amount,
    network: amount,
  },
  closed,
);

export const queueStrategies = ["BestEffortFIFO", "StrictFIFO"] as const;

export const QueueSpecSchema = Type.Object(
  {
    cohort: Type.Optional(
      Type.String({ pattern: idPattern, description: "Queues of one cohort lend to each other." }),
    ),
    weight: Type.Number({
      exclusiveMinimum: 0,
      maximum: 1000,
      default: 1,
      description: "Shares of queues are compared after division by their weights.",
    }),
    strategy: Type.Enum([...queueStrategies], {
      default: "BestEffortFIFO",
      description: "StrictFIFO: nobody passes a job that waits.",
    }),
    isStopped: Type.Boolean({ default: false, description: "No job of the queue starts." }),
    nominalQuota: Type.Optional(QuotaSchema),
    borrowingLimit: Type.Optional(QuotaSchema),
    lendingLimit: Type.Optional(QuotaSchema),
  },
  closed,
);

/** An online service: its demand comes first, jobs shrink to make room. */
export const ServiceSpecSchema = Type.Object(
  {
    replicas: Type.Integer({ minimum: 0, maximum: 10_000 }),
    resources: ResourcesSchema,
    nodeSelector: Type.Optional(
      Type.Record(Type.String({ pattern: labelPattern }), Type.String({ maxLength: 63 }), {
        maxProperties: 16,
      }),
    ),
  },
  closed,
);

export type Quota = Static<typeof QuotaSchema>;
export type QueueSpec = Static<typeof QueueSpecSchema>;
export type ServiceSpec = Static<typeof ServiceSpecSchema>;
