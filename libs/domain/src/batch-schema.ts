/** The part of a job that says which batches it may be trained with. */
import { Type } from "@coxswain/schema";
import { jobLimits } from "./job-limits.ts";

const closed = { additionalProperties: false } as const;

/** How the learning rate follows a larger batch, k times the job's own. */
const learningRateScalings = ["adascale", "sqrt", "linear", "none"] as const;
export type LearningRateScaling = (typeof learningRateScalings)[number];

export const AdaptiveBatchSchema = Type.Object(
  {
    maxBatchSize: Type.Integer({
      minimum: 1,
      maximum: jobLimits.batchSizeMax,
      description:
        "The autoscaler may grow the batch up to so many samples; a multiple of batchSize.",
    }),
    learningRateScaling: Type.Enum([...learningRateScalings], {
      default: "adascale",
      description:
        "What the learning rate is multiplied with when the batch is k times as large: adascale: the gain by the gradient's noise, from 1 to k; sqrt: the root of k; linear: k; none: 1.",
    }),
  },
  { ...closed, description: "Lets the autoscaler choose the batch; each choice is in the log." },
);

export const BatchChangeSchema = Type.Object(
  {
    fromStep: Type.Integer({ minimum: 0, maximum: jobLimits.stepsMax }),
    batchSize: Type.Integer({ minimum: 1, maximum: jobLimits.batchSizeMax }),
    learningRateFactor: Type.Number({ exclusiveMinimum: 0, maximum: 1e6, default: 1 }),
  },
  closed,
);
