import { type Static, Type } from "@coxswain/schema";
import { commonConfig } from "@coxswain/service";

export const ConfigSchema = Type.Object({
  ...commonConfig,
  STORE_URL: Type.String({
    description: "Where checkpoints and models lie: file:///FOLDER or s3://BUCKET/PREFIX",
  }),
  SWEEP_AGE_MS: Type.Integer({
    minimum: 60_000,
    default: 3_600_000,
    description: "What a killed writer left is removed at start once it is so old (ms).",
  }),
});
export type Config = Static<typeof ConfigSchema>;
