import { type Static, Type } from "@coxswain/schema";
import { commonConfig } from "@coxswain/service";

export const ConfigSchema = Type.Object({
  ...commonConfig,
  CYCLE_INTERVAL_MS: Type.Integer({
    default: 2000,
    minimum: 100,
    description: "Between two looks",
  }),
  FREEZE_MS: Type.Integer({
    default: 10_000,
    minimum: 0,
    description: "After a change of a job's workers nothing is asked for so long",
  }),
  GAIN_MIN: Type.Number({
    default: 0.15,
    minimum: 0,
    maximum: 1,
    description: "One more worker must bring at least this part of what the first one does",
  }),
  BATCH_GAIN_MIN: Type.Number({
    default: 0.1,
    minimum: 0,
    maximum: 10,
    description: "Another batch must bring at least this part more of goodput",
  }),
});
export type Config = Static<typeof ConfigSchema>;
