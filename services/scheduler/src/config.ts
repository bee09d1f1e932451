import { commonConfig } from "@coxswain/service";
import { type Static, Type } from "typebox";

export const ConfigSchema = Type.Object({
  ...commonConfig,
  CYCLE_INTERVAL_MS: Type.Integer({
    default: 1000,
    minimum: 10,
    description: "Between two looks when nothing happens",
  }),
  LEASE_TTL_MS: Type.Integer({
    default: 5000,
    minimum: 500,
    description: "Without renewal another scheduler takes over",
  }),
  NODE_TIMEOUT_MS: Type.Integer({
    default: 10_000,
    minimum: 500,
    description: "A node that is silent for longer is lost",
  }),
});
export type Config = Static<typeof ConfigSchema>;
