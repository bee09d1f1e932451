import { commonConfig } from "@coxswain/service";
import { type Static, Type } from "typebox";

export const ConfigSchema = Type.Object({
  ...commonConfig,
  STORE_URL: Type.String({ description: "Where checkpoints and models lie: file:///FOLDER" }),
});
export type Config = Static<typeof ConfigSchema>;
